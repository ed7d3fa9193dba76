import { createMigration, type MigratedService, migratedServices, migrateSchema } from "../src/postgres/migrations.ts";
import { makeServiceLogin } from "../src/postgres/service-login.ts";
import { withConfiguredDatabase } from "./configured-database.ts";

const usage = `Usage:
  npm run migrate:up [-- <service>]              all that is pending; makes the logins of DB_<SERVICE>_PASSWORD
  npm run migrate:down [-- <service> [<count>]]  the last migration of each service, or <count> of one
  npm run migrate:create -- <service> <name>     the pair of files of a new migration
Services: ${migratedServices.join(", ")}`;

class UsageError extends Error {}

function serviceNamed(name: string | undefined): MigratedService {
  const service = migratedServices.find((each) => each === name);
  if (service === undefined) throw new UsageError(`there is no service ${JSON.stringify(name ?? "")} with a schema\n\n${usage}`);
  return service;
}

async function move(direction: "up" | "down", only: string | undefined, steps: string | undefined): Promise<void> {
  if (steps !== undefined && !/^[1-9]\d*$/.test(steps))
    throw new UsageError(`${steps} is not a number of migrations\n\n${usage}`);
  const count = steps === undefined ? undefined : Number(steps);
  const inOrder = direction === "up" ? migratedServices : [...migratedServices].reverse();
  const services = only === undefined ? inOrder : [serviceNamed(only)];
  await withConfiguredDatabase(async (url, config) => {
    const passwords: Readonly<Record<MigratedService, string | undefined>> = {
      auth: config.DB_AUTH_PASSWORD,
      conversation: config.DB_CONVERSATION_PASSWORD,
      tool: config.DB_TOOL_PASSWORD,
    };
    for (const service of services) {
      const { names, rolePrefix } = await migrateSchema({
        url,
        service,
        direction,
        count,
        rolePrefix: config.DB_ROLE_PREFIX,
      });
      if (direction === "up") await makeServiceLogin({ url, schema: service, password: passwords[service], rolePrefix });
      console.log(`${service}: ${names.length === 0 ? "nothing to do" : `${direction} ${names.join(", ")}`}`);
    }
  });
}

async function main([command, ...args]: string[]): Promise<void> {
  switch (command) {
    case "up":
    case "down":
      return await move(command, args[0], args[1]);
    case "create": {
      const paths = await createMigration({ service: serviceNamed(args[0]), name: args.slice(1).join(" ") });
      return console.log(paths.join("\n"));
    }
    default:
      throw new UsageError(usage);
  }
}

/** The message and its causes, without stacks: the fault lies in SQL or configuration, not in this program. */
function describeError(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  if (error.cause === undefined || error instanceof UsageError) return error.message;
  return `${error.message}\n  because: ${describeError(error.cause)}`;
}

try {
  await main(process.argv.slice(2));
} catch (error) {
  console.error(describeError(error));
  process.exitCode = 1;
}
