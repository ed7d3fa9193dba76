import type pg from "pg";
import { ErrorReason, fail, reasonOf } from "../errors.ts";
import type { Logger } from "../logger.ts";
import type { MigratedService } from "./migrations.ts";
import { createPool, databaseError, type Tx, transaction } from "./pool.ts";
import { serviceRoles, standardPrefix } from "./service-roles.ts";

/** Connections that show one user's rows at a time; the database's policies hide all others. */
export interface UserPool {
  /** Runs `work` on a connection that sees the user's rows only; each of its statements commits by itself. */
  as<T>(userId: string, work: (db: Tx) => Promise<T>): Promise<T>;
  /** The same in one transaction, as `transaction` does. */
  transaction<T>(userId: string, work: (tx: Tx) => Promise<T>): Promise<T>;
}

/** Access to a service's schema in PostgreSQL, under roles that own nothing. */
export interface ServicePools {
  /** For work on behalf of all users. Sees every row of the schema. */
  readonly pool: pg.Pool;
  /** For work on behalf of one user. */
  readonly users: UserPool;
}

/** A service's database. */
export interface ServiceDatabase extends ServicePools {
  /**
   * Opens further pools, of the same sizes, whose connections run these statements before any other. The pools are new,
   * so no connection can have been opened without the statements. `end` ends them too.
   */
  withSettings(statements: readonly string[]): ServicePools;
  /** Ends the connections of all pools. */
  end(): Promise<void>;
}

const uuid = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/**
 * Opens a service's database: `max` connections for all users together, a quarter as many again for single users. Pools
 * connect on first use. The schema must be migrated.
 */
export function openServiceDatabase(options: {
  url: string;
  schema: MigratedService;
  max: number;
  logger: Logger;
  /** As for `createPool`. */
  statementTimeoutMs?: number;
  /** Prefix of the role names; `turnwright` unless given. */
  rolePrefix?: string;
}): ServiceDatabase {
  const { url, schema, max, logger, statementTimeoutMs, rolePrefix = standardPrefix } = options;
  const roles = serviceRoles(rolePrefix, schema);
  const common = { url, schema, logger, statementTimeoutMs, applicationName: `turnwright-${schema}` };
  const opened: pg.Pool[] = [];
  const openPools = (statements: readonly string[]): ServicePools => {
    const pool = createPool({ ...common, max, role: roles.service });
    const userPool = createPool({ ...common, max: Math.max(2, Math.ceil(max / 4)), role: roles.user });
    opened.push(pool, userPool);
    if (statements.length > 0) {
      const sql = statements.join("; ");
      for (const one of [pool, userPool]) one.options.onConnect = (client) => client.query(sql);
    }
    return { pool, users: createUserPool(userPool) };
  };
  return {
    ...openPools([]),
    withSettings: openPools,
    async end() {
      await Promise.all(opened.map((pool) => pool.end()));
    },
  };
}

function createUserPool(pool: pg.Pool): UserPool {
  /** The user whose rows a connection shows. */
  const shown = new WeakMap<object, string>();
  const show = async (db: Tx, userId: string): Promise<void> => {
    if (shown.get(db) === userId) return;
    // Unknown until the statement has succeeded.
    shown.delete(db);
    await db.query({ name: "show-user", text: "select set_config('turnwright.user_id', $1, false)", values: [userId] });
    shown.set(db, userId);
  };
  const checked = (userId: string): string => {
    // An empty setting shows no rows. Any other value that is not a UUID is a bug.
    if (uuid.test(userId)) return userId;
    throw fail(ErrorReason.INTERNAL, "a user's rows were asked for without a user");
  };
  return {
    async as(userId, work) {
      const owner = checked(userId);
      const db = await pool.connect();
      let broken: Error | undefined;
      const onError = (error: Error) => {
        broken = error;
      };
      db.on("error", onError);
      try {
        await show(db, owner);
        return await work(db);
      } catch (thrown) {
        const error = databaseError(thrown);
        // The connection may still be running the statement, so it is not reused.
        if (reasonOf(error) === ErrorReason.DATABASE_UNAVAILABLE) broken ??= thrown as Error;
        throw error;
      } finally {
        db.off("error", onError);
        db.release(broken);
      }
    },
    transaction(userId, work) {
      const owner = checked(userId);
      return transaction(pool, async (tx) => {
        // Set before the first row is read. A rollback takes the setting back, so it is not remembered.
        shown.delete(tx);
        await tx.query({ name: "show-user-now", text: "select set_config('turnwright.user_id', $1, true)", values: [owner] });
        return await work(tx);
      });
    },
  };
}
