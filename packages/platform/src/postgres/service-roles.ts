import { createHash } from "node:crypto";
import type { schemaLocks } from "../../../../migrations/schemas.ts";

/** A service with a schema and roles of its own. */
export type Schema = keyof typeof schemaLocks;

/** The prefix of a database named `turnwright`, which the embedded server has. Migrations are written with it. */
export const standardPrefix = "turnwright";

/** The PostgreSQL roles of one service. Roles belong to the whole server, so their names have a prefix. */
export interface ServiceRoles {
  /** For work on behalf of all users: sees every row of the schema. */
  readonly service: string;
  /** For work on behalf of one user. */
  readonly user: string;
  /** The service's login, which may take both roles and has no rights of its own. */
  readonly login: string;
}

/** The roles of a service in the installation with this prefix. */
export function serviceRoles(prefix: string, schema: Schema): ServiceRoles {
  return { service: `${prefix}_${schema}`, user: `${prefix}_${schema}_user`, login: `${prefix}_${schema}_login` };
}

/** Prefixes that need no quotes in SQL and leave room for the longest role name within PostgreSQL's 63 bytes. */
const prefixPattern = /^[a-z][a-z0-9_]{0,42}$/;

/**
 * The prefix for the roles of a database: `turnwright_<database>`. Names that are too long or need quotes become a
 * readable part and a hash, so that no two databases of a server get the same prefix.
 */
export function prefixOfDatabase(database: string): string {
  if (database === standardPrefix) return standardPrefix;
  const plain = `${standardPrefix}_${database}`;
  // A name that ends like a hashed one gets a hash as well.
  if (prefixPattern.test(plain) && !/_[0-9a-f]{10}$/.test(plain)) return plain;
  const readable = database
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, "_")
    .slice(0, 20);
  return `${standardPrefix}_${readable}_${createHash("sha256").update(database).digest("hex").slice(0, 10)}`;
}

/** The text of a migration with the role names of an installation. */
export function withRolePrefix(sql: string, prefix: string): string {
  if (prefix === standardPrefix) return sql;
  return sql.replaceAll(/\bturnwright_(auth|conversation|tool)(_user)?\b/g, (_name, schema: string, user = "") => {
    return `${prefix}_${schema}${user}`;
  });
}
