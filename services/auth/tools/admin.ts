/**
 * Accounts from the command line, for operators who have no admin's login: `npm run admin -- reset <email>`, `promote
 * <email>` and `demote <email>`. Works on DATABASE_URL or DB_*, else on the embedded database of TURNWRIGHT_DATA_DIR,
 * also while Turnwright runs, whose parts notice within a second. A new password is the only text on standard output.
 */
import { parseArgs } from "node:util";
import { ConnectError } from "@connectrpc/connect";
import { withServicePool } from "@turnwright/platform/tools/configured-database";
import type pg from "pg";
import { demoteByOperator, promoteByOperator, resetByOperator } from "../src/operator-changes.ts";

const usage = `Usage:
  npm run admin -- reset <email> [--revoke-api-keys]   a new random password; ends the sessions of the account
  npm run admin -- promote <email> [--activate]        makes the account an admin
  npm run admin -- demote <email>                      makes an admin a user`;

interface Options {
  readonly "revoke-api-keys"?: boolean;
  readonly activate?: boolean;
}

/** A command's options, and its work, which returns the words for the operator. */
interface Command {
  readonly options: readonly (keyof Options)[];
  run(pool: pg.Pool, email: string, options: Options): Promise<string>;
}

const counted = (count: number, noun: string) => `${count} ${noun}${count === 1 ? "" : "s"}`;

const commands: Readonly<Record<string, Command>> = {
  reset: {
    options: ["revoke-api-keys"],
    async run(pool, email, { "revoke-api-keys": revokeApiKeys = false }) {
      const { user, password, sessions, apiKeys } = await resetByOperator(pool, { email, revokeApiKeys });
      console.log(password);
      const keys = revokeApiKeys ? `${counted(apiKeys, "API key")} revoked` : "its API keys stay";
      const state = user.isActive ? "" : " The account is deactivated.";
      return `${user.email} has a new password; ${counted(sessions, "session")} ended, ${keys}.${state}`;
    },
  },
  promote: {
    options: ["activate"],
    async run(pool, email, { activate = false }) {
      const { user, changed } = await promoteByOperator(pool, { email, activate });
      return changed ? `${user.email} is an admin now; its sessions have ended.` : `${user.email} is an admin already.`;
    },
  },
  demote: {
    options: [],
    async run(pool, email) {
      const { user, changed } = await demoteByOperator(pool, { email });
      return changed ? `${user.email} is a user now; its sessions have ended.` : `${user.email} is no admin: ${user.role}.`;
    },
  },
};

/** Throws an error with the usage for anything else than a command, an address and options of that command. */
function parsed(args: string[]): { command: Command; email: string; options: Options } {
  const boolean = { type: "boolean" } as const;
  try {
    const { values, positionals } = parseArgs({
      args,
      allowPositionals: true,
      options: { "revoke-api-keys": boolean, activate: boolean },
    });
    const [name = "", email, ...more] = positionals;
    const command = Object.hasOwn(commands, name) ? commands[name] : undefined;
    const isKnown = Object.keys(values).every((option) => command?.options.some((known) => known === option));
    if (command !== undefined && email !== undefined && more.length === 0 && isKnown) return { command, email, options: values };
  } catch {
    // An unknown option.
  }
  throw new Error(usage);
}

async function main(args: string[]): Promise<void> {
  const { command, email, options } = parsed(args);
  await withServicePool("auth", async (pool) => {
    console.error(await command.run(pool, email, options));
  });
}

await main(process.argv.slice(2)).catch((error: unknown) => {
  console.error(error instanceof ConnectError ? error.rawMessage : error instanceof Error ? error.message : String(error));
  process.exitCode = 1;
});
