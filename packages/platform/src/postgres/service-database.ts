import type pg from "pg";
import { ErrorReason, fail, reasonOf } from "../errors.ts";
import type { Logger } from "../logger.ts";
import type { MigratedService } from "./migrations.ts";
import { createPool, databaseError, type Tx, transaction } from "./pool.ts";

/** Connections on which only one user's rows exist at a time, by the policies of the database. */
export interface UserPool {
  /** Runs `work` on a connection that sees the user's rows only; each of its statements commits by itself. */
  as<T>(userId: string, work: (db: Tx) => Promise<T>): Promise<T>;
  /** The same in one transaction, as `transaction` does. */
  transaction<T>(userId: string, work: (tx: Tx) => Promise<T>): Promise<T>;
}

/** What a service has of PostgreSQL: its schema, under roles that own nothing. */
export interface ServiceDatabase {
  /** For what the service does on everybody's behalf. Sees all rows of its own schema. */
  readonly pool: pg.Pool;
  /** For what one user asked for. */
  readonly users: UserPool;
  /** Runs statements on each connection that is opened from now on. */
  onConnect(sql: string): void;
  /** Ends all connections. */
  end(): Promise<void>;
}

const uuid = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/** Opens a service's database: `max` connections for everybody, a quarter as many again for single users. The schema is migrated before. */
export function openServiceDatabase(options: {
  url: string;
  schema: MigratedService;
  max: number;
  logger: Logger;
  /** As for `createPool`. */
  statementTimeoutMs?: number;
}): ServiceDatabase {
  const { url, schema, max, logger, statementTimeoutMs } = options;
  const common = { url, schema, logger, statementTimeoutMs, applicationName: `turnwright-${schema}` };
  const pool = createPool({ ...common, max, role: `turnwright_${schema}` });
  const userPool = createPool({ ...common, max: Math.max(2, Math.ceil(max / 4)), role: `turnwright_${schema}_user` });
  const statements: string[] = [];
  return {
    pool,
    users: createUserPool(userPool),
    onConnect(sql) {
      statements.push(sql);
      for (const one of [pool, userPool]) one.options.onConnect = (client) => client.query(statements.join("; "));
    },
    async end() {
      await Promise.all([pool.end(), userPool.end()]);
    },
  };
}

function createUserPool(pool: pg.Pool): UserPool {
  /** Whose rows a connection shows. */
  const shown = new WeakMap<object, string>();
  const show = async (db: Tx, userId: string): Promise<void> => {
    if (shown.get(db) === userId) return;
    // Unknown until the statement has succeeded.
    shown.delete(db);
    await db.query({ name: "show-user", text: "select set_config('turnwright.user_id', $1, false)", values: [userId] });
    shown.set(db, userId);
  };
  const checked = (userId: string): string => {
    // An empty setting shows nothing; anything else that is no UUID is a fault of ours.
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
        // Its connection may still be at it.
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
        // Before the first row is read, and forgotten with the transaction if that is rolled back.
        shown.delete(tx);
        await tx.query({ name: "show-user-now", text: "select set_config('turnwright.user_id', $1, true)", values: [owner] });
        return await work(tx);
      });
    },
  };
}
