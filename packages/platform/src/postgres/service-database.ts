import type pg from "pg";
import { ErrorReason, fail } from "../errors.ts";
import type { Logger } from "../logger.ts";
import { shareRefusals } from "./database-health.ts";
import type { MigratedService } from "./migrations.ts";
import { createPool, databaseClient, failureOf, giveBack, type PoolSettings, type Tx, transaction } from "./pool.ts";
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
   * Opens further pools, of the same sizes, whose connections have these settings. The pools are new, so no connection
   * can have been opened without the settings. `end` ends them too. A service uses these pools or the others, not both.
   */
  withSettings(settings: PoolSettings): ServicePools;
  /** How the pools in use are used. */
  load(): PoolLoad[];
  /** Ends the connections of all pools. */
  end(): Promise<void>;
}

/** The connections of one pool. */
export interface PoolLoad {
  readonly max: number;
  readonly open: number;
  readonly idle: number;
  /** Statements that wait for a connection. */
  readonly waiting: number;
}

const uuid = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/** The fewest connections of a service's database: one for all users together, one for single users. */
export const leastConnections = 2;

/**
 * Opens a service's database with at most `max` connections: two thirds for all users together, the rest for single
 * users. Pools connect on first use. The schema must be migrated.
 */
export function openServiceDatabase(options: {
  url: string;
  schema: MigratedService;
  /** At least 2. */
  max: number;
  logger: Logger;
  /** As for `createPool`. */
  statementTimeoutMs?: number;
  /** As for `createPool`. */
  isPrepared?: boolean;
  /** Prefix of the role names; `turnwright` unless given. */
  rolePrefix?: string;
}): ServiceDatabase {
  const { url, schema, max, logger, statementTimeoutMs, isPrepared, rolePrefix = standardPrefix } = options;
  const roles = serviceRoles(rolePrefix, schema);
  const common = { url, schema, logger, statementTimeoutMs, isPrepared, applicationName: `turnwright-${schema}` };
  const forUsers = Math.max(1, Math.floor(max / 3));
  const opened: pg.Pool[] = [];
  const openPools = (settings?: PoolSettings): ServicePools => {
    const pool = createPool({ ...common, settings, max: max - forUsers, role: roles.service });
    const userPool = createPool({ ...common, settings, max: forUsers, role: roles.user });
    shareRefusals(userPool, pool);
    opened.push(pool, userPool);
    return { pool, users: createUserPool(userPool) };
  };
  return {
    ...openPools(),
    withSettings: openPools,
    load: () =>
      opened
        .filter(({ totalCount, waitingCount }) => totalCount + waitingCount > 0)
        .map(({ options: { max: most }, totalCount: open, idleCount: idle, waitingCount: waiting }) => ({
          max: most ?? 0,
          open,
          idle,
          waiting,
        })),
    async end() {
      await Promise.all(opened.map((pool) => pool.end()));
    },
  };
}

function createUserPool(pool: pg.Pool): UserPool {
  /** The user whose rows a connection shows. */
  const shown = new WeakMap<object, string>();
  const show = async (db: Tx, userId: string): Promise<void> => {
    const client = databaseClient(db);
    if (client.isPooled) {
      client.shownUser = userId;
      return;
    }
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
      let lost: Error | undefined;
      const onError = (error: Error) => {
        lost = error;
      };
      db.on("error", onError);
      const leave = () => {
        databaseClient(db).shownUser = "";
        db.off("error", onError);
      };
      try {
        await show(db, owner);
        const result = await work(db);
        leave();
        db.release(lost);
        return result;
      } catch (error) {
        leave();
        giveBack(db, lost ?? causeOf(error));
        throw failureOf(pool, error);
      }
    },
    transaction(userId, work) {
      const owner = checked(userId);
      const begun = async (tx: Tx): Promise<Awaited<ReturnType<typeof work>>> => {
        if (databaseClient(tx).isPooled) return await work(tx);
        // Set before the first row is read. A rollback takes the setting back, so it is not remembered.
        shown.delete(tx);
        await tx.query({ name: "show-user-now", text: "select set_config('turnwright.user_id', $1, true)", values: [owner] });
        return await work(tx);
      };
      return transaction(pool, begun, owner);
    },
  };
}

/** The driver's own error of a statement, which tells whether its connection can be used again. */
function causeOf(error: unknown): unknown {
  return error instanceof Error && error.cause instanceof Error ? error.cause : error;
}
