import pg from "pg";
import { ConfigError } from "../config/env.ts";
import { preparedFault } from "./database-errors.ts";
import { answeredWithin, databaseError } from "./pool.ts";

const answerMs = 5_000;
/** Statements by which two connections try to get each other's backend. */
const tries = 4;

const pidSql = "select pg_backend_pid() as pid";

async function backendOf(client: pg.Client, name?: string): Promise<number> {
  const { rows } = await client.query<{ pid: number }>(answeredWithin(answerMs, { name, text: pidSql }));
  return rows[0]?.pid ?? 0;
}

/** Looks at a connection before it is closed: each further one would cost PostgreSQL a process. */
export type OnConnected = (client: pg.Client, url: string) => Promise<void>;

/** Whether a connection has its own backend for as long as it lasts: no pooler is in between, or one of sessions. */
export async function isDirect(client: pg.Client): Promise<boolean> {
  const { processID } = client as unknown as { processID: number | null };
  return (await backendOf(client)) === processID;
}

/**
 * Checks that prepared statements last where a pooler is between the process and PostgreSQL. Throws ConfigError when
 * the pooler loses them: one that gives each transaction another backend must know the statements of its connections,
 * as PgBouncer does since 1.21. Other faults become DATABASE_UNAVAILABLE, as for pools.
 */
export async function checkPreparedStatements(url: string): Promise<void> {
  const clients = [1, 2].map(
    () => new pg.Client({ connectionString: url, connectionTimeoutMillis: answerMs, application_name: "turnwright-check" }),
  );
  const [one, other] = clients as [pg.Client, pg.Client];
  // Without a listener, a connection that dies between two statements would end the process.
  for (const client of clients) client.on("error", ignore);
  try {
    await one.connect();
    if (await isDirect(one)) return;
    const name = `turnwright-check-${process.pid}-${Date.now()}`;
    let backend = await backendOf(one, name);
    await other.connect();
    for (let attempt = 0; attempt < tries; attempt++) {
      // A transaction keeps its backend; when that is the first connection's, this one must get another.
      await other.query(answeredWithin(answerMs, { text: "begin" }));
      const isTaken = (await backendOf(other)) === backend;
      if (isTaken) await backendOf(one, name);
      await other.query(answeredWithin(answerMs, { text: "rollback" }));
      if (isTaken) return;
      backend = await backendOf(one, name);
    }
  } catch (error) {
    const translated = databaseError(error);
    if (translated instanceof Error && translated.message.includes(preparedFault)) {
      throw new ConfigError([`DB_PREPARED_STATEMENTS: ${preparedFault}`]);
    }
    throw translated;
  } finally {
    for (const client of clients) client.connection.stream.destroy();
  }
}

function ignore(): void {}
