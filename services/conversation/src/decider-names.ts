import type { Client } from "@connectrpc/connect";
import { TokenType } from "@turnwright/contract/auth/v1/identity";
import type { TokenService } from "@turnwright/contract/auth/v1/token_service";
import { createFailureLog } from "@turnwright/platform/failure-log";
import type { Logger } from "@turnwright/platform/logger";
import type { Decider } from "./deciders.ts";

/** The names under which a decision is recorded, as they are at its time. */
export interface DeciderNames {
  /** Name of the account; empty: unknown. */
  readonly name: string;
  /** Of an API key its name, empty when it is unknown; of a login `console` or `login`. */
  readonly via: string;
}

/** A decision waits no longer for a name: it stands without one. */
const timeoutMs = 1_000;

/** The names of deciders. While auth is away, decisions are recorded without names. */
export function createDeciderNames({ tokens, logger }: { tokens: Client<typeof TokenService>; logger: Logger }) {
  const failures = createFailureLog(logger);
  return async ({ userId, tokenId, tokenType }: Decider, via: string): Promise<DeciderNames> => {
    const isKey = tokenType === TokenType.API_KEY;
    const ofLogin = via === "console" ? via : "login";
    try {
      const { userName, apiKeys } = await tokens.nameCredentials({ userId, tokenIds: isKey ? [tokenId] : [] }, { timeoutMs });
      return { name: userName, via: isKey ? (apiKeys[0]?.name ?? "") : ofLogin };
    } catch (error) {
      failures.warn({ message: "a decision is recorded without its decider's name", subject: [], error, fields: () => ({}) });
      return { name: "", via: isKey ? "" : ofLogin };
    }
  };
}
