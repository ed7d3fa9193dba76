import pg from "pg";
import { schemaLocks } from "../../../../migrations/schemas.ts";
import type { Logger } from "../logger.ts";
import { prefixOfDatabase, type Schema, serviceRoles } from "./service-roles.ts";

/** The login of a database lacks a right or a role; the message names it and the remedy. */
export class MissingRightError extends Error {
  override readonly name = "MissingRightError";
}

/** The roles for which a schema's tables have their policies. */
interface FoundRoles {
  /** Prefix of the roles; undefined when the schema has no tables with policies yet. */
  readonly prefix: string | undefined;
  /** Another database of the server that uses the same roles. */
  readonly sharedWith: string | undefined;
  readonly database: string;
}

/** Another database of the server in which the role `r` has rights. */
const sharingSql = `(
    select min(o.datname) from pg_shdepend d join pg_database o on o.oid = d.dbid
    where d.refclassid = 'pg_authid'::regclass and d.refobjid = r.oid and o.datname <> current_database()) as shared_with`;

const rolesOfSchema = `
  select current_database() as database, r.rolname as role, ${sharingSql}
  from (select) as one left join lateral (
    select a.oid, a.rolname from pg_policy p join pg_class c on c.oid = p.polrelid join pg_namespace n on n.oid = c.relnamespace
      join pg_roles a on a.oid = any (p.polroles)
    where n.nspname = $1 and p.polname = 'for_service' limit 1
  ) as r on true`;

/** Reads from the database which roles a schema belongs to. Any login may. */
async function findRoles(client: pg.Client, schema: Schema): Promise<FoundRoles> {
  const { rows } = await client.query<{ database: string; role: string | null; shared_with: string | null }>(rolesOfSchema, [
    schema,
  ]);
  const { database = "", role = null, shared_with: other = null } = rows[0] ?? {};
  const ending = `_${schema}`;
  const prefix = role?.endsWith(ending) ? role.slice(0, -ending.length) : undefined;
  return { database, prefix, sharedWith: other ?? undefined };
}

/** The roles of a schema: as they are, and as they must be. */
export interface RolePlan {
  readonly current: string | undefined;
  readonly prefix: string;
}

/**
 * Decides the prefix of a schema's roles: the configured one; else the present one, unless another database of the
 * server uses the same roles, because its services could read this database; else the one of the database's name.
 */
export async function planRoles(options: {
  client: pg.Client;
  schema: Schema;
  configured: string | undefined;
  logger: Logger | undefined;
}): Promise<RolePlan> {
  const { prefix: current, sharedWith, database } = await findRoles(options.client, options.schema);
  const present = sharedWith === undefined ? current : undefined;
  const prefix = options.configured ?? present ?? prefixOfDatabase(database);
  if (sharedWith !== undefined && prefix === current) {
    options.logger?.warn({ prefix, other: sharedWith }, "another database has the same DB_ROLE_PREFIX and can be read by it");
  }
  return { current, prefix };
}

/**
 * Creates the two roles of a schema if they are missing, and makes the login their member. Throws MissingRightError
 * when the login may not, or when the roles belong to another database and `mayShare` is not set.
 */
export async function ensureRoles(client: pg.Client, schema: Schema, prefix: string, mayShare: boolean): Promise<void> {
  const { service, user } = serviceRoles(prefix, schema);
  const { rows } = await client.query<{ role: string; shared_with: string | null }>(
    `select r.rolname as role, ${sharingSql} from pg_roles r where r.rolname in ($1, $2)`,
    [service, user],
  );
  const other = rows.find(({ shared_with: database }) => database !== null);
  if (other !== undefined && !mayShare) {
    throw new MissingRightError(
      `the role ${other.role} belongs to the database ${other.shared_with}; set DB_ROLE_PREFIX to a name of this ` +
        "installation's own",
    );
  }
  const { rows: logins } = await client.query<{ login: string; all: boolean }>(
    "select current_user as login, rolsuper as all from pg_roles where rolname = current_user",
  );
  const { login = "", all = false } = logins[0] ?? {};
  for (const role of [service, user]) {
    if (!rows.some((row) => row.role === role)) {
      await client.query(`create role ${role} nologin nobypassrls`).catch((error: unknown) => {
        if (hasCode(error, "42710", "23505")) return;
        if (!hasCode(error, "42501")) throw error;
        throw new MissingRightError(
          `the role ${role} is missing and the login ${login} may not create it; npm run db:prepare -- --print ` +
            "shows the SQL for an administrator",
          { cause: error },
        );
      });
    }
    // A superuser may take any role. The creator of a role may take it only once it is granted.
    if (!all) await becomeMember(client, role, login);
  }
}

async function becomeMember(client: pg.Client, role: string, login: string): Promise<void> {
  await client.query(`grant ${role} to ${pg.escapeIdentifier(login)}`).catch(async (error: unknown) => {
    if (!hasCode(error, "42501", "0LP01")) throw error;
    const { rows } = await client.query<{ member: boolean }>("select pg_has_role(current_user, $1, 'member') as member", [role]);
    if (rows[0]?.member === true) return;
    throw new MissingRightError(
      `the login ${login} is not a member of the role ${role}; npm run db:prepare -- --print shows the SQL for an administrator`,
      { cause: error },
    );
  });
}

/** The statements that give a schema's policies and rights of one role to another; `$1` schema, `$2` old, `$3` new. */
const moves = `
  with old as (select oid from pg_roles where rolname = $2),
  space as (select oid, nspacl from pg_namespace where nspname = $1),
  rights as (
    select 'schema ' || quote_ident($1) as object, privilege_type, null as column_name
      from space, aclexplode(nspacl) a where a.grantee = (select oid from old)
    union all
    select case c.relkind when 'S' then 'sequence ' else 'table ' end || c.oid::regclass, privilege_type, null
      from pg_class c, aclexplode(c.relacl) a where c.relnamespace = (select oid from space) and a.grantee = (select oid from old)
    union all
    select 'table ' || c.oid::regclass, privilege_type, quote_ident(t.attname)
      from pg_class c join pg_attribute t on t.attrelid = c.oid, aclexplode(t.attacl) a
      where c.relnamespace = (select oid from space) and a.grantee = (select oid from old)
    union all
    select 'function ' || p.oid::regprocedure, privilege_type, null
      from pg_proc p, aclexplode(p.proacl) a where p.pronamespace = (select oid from space) and a.grantee = (select oid from old)
  )
  select format('alter policy %I on %s to %s', p.polname, c.oid::regclass, (
      select string_agg(case when r = 0 then 'public' when r = (select oid from old)
        then quote_ident($3) else r::regrole::text end, ', ')
      from unnest(p.polroles) r)) as statement
    from pg_policy p join pg_class c on c.oid = p.polrelid
    where c.relnamespace = (select oid from space) and (select oid from old) = any (p.polroles)
  union all
  select format('grant %s%s on %s to %I', privilege_type, '(' || column_name || ')', object, $3) from rights
  union all
  select format('revoke %s%s on %s from %I', privilege_type, '(' || column_name || ')', object, $2) from rights`;

/**
 * Gives the tables of a schema to the roles of another prefix, and takes all rights in the schema from the roles and
 * the login of the old one. The new roles must exist. Does nothing when another process has done it meanwhile.
 */
export async function moveRoles(client: pg.Client, schema: Schema, plan: { current: string; prefix: string }): Promise<void> {
  const from = serviceRoles(plan.current, schema);
  const to = serviceRoles(plan.prefix, schema);
  await client.query("begin");
  try {
    await client.query("select pg_advisory_xact_lock($1)", [schemaLocks[schema]]);
    for (const [old, role] of [
      [from.service, to.service],
      [from.user, to.user],
    ]) {
      const { rows } = await client.query<{ statement: string }>(moves, [schema, old, role]);
      for (const { statement } of rows) await client.query(statement);
    }
    // The new login gets its rights when it is made.
    const { rows } = await client.query<{ statement: string }>(moves, [schema, from.login, from.login]);
    for (const { statement } of rows) if (statement.startsWith("revoke ")) await client.query(statement);
    await client.query("commit");
  } catch (error) {
    await client.query("rollback").catch(() => {});
    if (!hasCode(error, "42501")) throw error;
    throw new MissingRightError(
      `the tables of ${schema} belong to the roles of ${plan.current} and must move to those of ${plan.prefix}, ` +
        "which this login " +
        "may not do; run npm run migrate:up with the login that owns the tables",
      { cause: error },
    );
  }
}

function hasCode(error: unknown, ...codes: string[]): boolean {
  return error instanceof Error && "code" in error && codes.includes(String(error.code));
}
