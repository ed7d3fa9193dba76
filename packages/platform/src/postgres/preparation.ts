import { type MigratedService, migratedServices } from "./migrations.ts";
import { scramVerifier } from "./scram.ts";
import { serviceRoles } from "./service-roles.ts";

/** The names and passwords of an installation on a PostgreSQL server. */
export interface Preparation {
  /** Owns the database and the tables; needs no right beyond that. */
  readonly owner: { readonly name: string; readonly password: string };
  readonly database: string;
  readonly rolePrefix: string;
  /** Passwords of the services' logins. */
  readonly loginPasswords: Readonly<Record<MigratedService, string>>;
}

/** The statement that an administrator may have run before. */
export function createsDatabase(statement: string): boolean {
  return statement.startsWith("create database ");
}

/**
 * The statements, without semicolons, by which an administrator (a superuser, or a login with CREATEROLE and CREATEDB)
 * prepares a server. They may run again and then set the passwords again; only `create database` fails the second time.
 * Passwords appear as SCRAM-SHA-256 verifiers.
 */
export function preparation({ owner, database, rolePrefix, loginPasswords }: Preparation): string[] {
  const roles = migratedServices.map((schema) => ({ schema, ...serviceRoles(rolePrefix, schema) }));
  const groups = roles.flatMap(({ service, user }) => [service, user]);
  const logins = roles.map(({ login }) => login);
  const name = quoted(owner.name);
  const on = `on database ${quoted(database)}`;
  return [
    `do $$
declare
  name text;
begin
  foreach name in array array[${[...groups, ...logins, owner.name].map(literal).join(", ")}] loop
    if not exists (select from pg_roles where rolname = name) then
      execute format('create role %I', name);
    end if;
  end loop;
end $$`,
    `alter role ${name} login password '${scramVerifier(owner.password)}'`,
    ...roles.map(({ schema, login }) => {
      return `alter role ${login} login noinherit password '${scramVerifier(loginPasswords[schema])}'`;
    }),
    `grant ${groups.join(", ")} to ${name}`,
    ...roles.map(({ service, user, login }) => `grant ${service}, ${user} to ${login}`),
    `grant ${name} to current_user`,
    `create database ${quoted(database)} owner ${name}`,
    `revoke all ${on} from public`,
    `grant connect, create, temporary ${on} to ${name}`,
    `grant connect ${on} to ${logins.join(", ")}`,
    `revoke ${name} from current_user`,
  ];
}

/** The statements as a page for `psql` or any other client. */
export function preparationPage(plan: Preparation): string {
  const head = [
    `-- Prepares PostgreSQL for Turnwright's database ${JSON.stringify(plan.database)}. Run it as a superuser or ` +
      "as a login with CREATEROLE and",
    "-- CREATEDB, one statement at a time (psql does so), connected to any database of the server.",
    "-- The passwords are verifiers: they let nobody log in. If the database exists, leave out its creation.",
  ];
  return `${head.join("\n")}\n${preparation(plan)
    .map((statement) => `${statement};\n`)
    .join("")}`;
}

function quoted(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}

function literal(text: string): string {
  return `'${text.replaceAll("'", "''")}'`;
}
