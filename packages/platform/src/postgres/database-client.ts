import { setTimeout as delay } from "node:timers/promises";
import pg from "pg";
import { type BackendAddress, sendCancelRequest } from "./cancel-request.ts";

/** Settings of all statements of a pool. */
export interface SessionSettings {
  /** Names and values as for `set_config`. */
  readonly settings: readonly (readonly [name: string, value: string])[];
  /** Whether named statements are prepared. Without, each is parsed anew: poolers before PgBouncer 1.21 lose them. */
  readonly isPrepared: boolean;
}

/** A query of the driver, which exports it without these types. */
interface DriverQuery {
  readonly name?: string;
  callback?: Callback;
  query_timeout?: number;
  prepare(connection: Wire): void;
  requiresPreparation(): boolean;
  handleDataRow(message: unknown): void;
  handleCommandComplete(message: unknown, connection: Wire): void;
  handleError(error: Error, connection: Wire): void;
}

interface Wire {
  /** Texts of the statements that the server has, by name. */
  readonly parsedStatements: Readonly<Record<string, string>>;
  close(message: { type: "S"; name: string }): void;
  parse(message: { text: string; name?: string }): void;
  bind(message: { statement?: string; values: readonly string[] }): void;
  execute(message: object): void;
}

type Config = pg.QueryConfig & { query_timeout?: number };
type Callback = (error: Error | null, result?: unknown) => void;

const DriverQuery = pg.Query as unknown as new (config: Config) => DriverQuery;

/** The settings of a transaction behind a pooler. */
interface LocalSettings {
  readonly text: string;
  /** Name under which `text` is prepared; undefined when nothing is. */
  readonly name: string | undefined;
  readonly values: readonly string[];
}

/** Milliseconds for the first statement of a connection. */
const enterMs = 5_000;
/** Cancel requests for one statement, and milliseconds for each of them and for its effect. */
const cancelTries = 3;
const cancelMs = 1_000;
/** Milliseconds between the server's looks whether the client of a running statement is still there. */
const watchMs = 5_000;

const userSetting = "turnwright.user_id";
const watchSetting = "client_connection_check_interval";
const localName = "turnwright-settings";

/**
 * Tells whether the backend is this connection's own, and only then gives its session the settings. A pooler hands its
 * backends to others, and names another process id than that of the backend. Servers from 14 on, on Linux, can stop a
 * statement whose client is gone.
 */
const enterSql = `
select s.is_own, s.watches,
  case when s.is_own then (select count(set_config(c.name, c.value, false))
    from unnest($2::text[], $3::text[]) as c(name, value)) end,
  case when s.is_own and s.watches then set_config('${watchSetting}', '${watchMs}', false) end
from (
  select pg_backend_pid() = $1::integer as is_own,
    version() ~ 'linux' and current_setting('server_version_num')::integer >= 140000 as watches
) s`;

/** Sets each of the named settings until the end of the transaction. */
function localSql(names: readonly string[], expressionOf: (index: number) => string): string {
  return `select ${names.map((name, index) => `set_config('${name}', ${expressionOf(index)}, true)`).join(", ")}`;
}

/**
 * A statement behind a pooler. Outside of a transaction it brings the settings along: both are one message to the
 * server and one implicit transaction.
 */
class LocalQuery extends DriverQuery {
  readonly #client: DatabaseClient;
  readonly #local: LocalSettings;
  #isSetting = false;

  constructor(client: DatabaseClient, local: LocalSettings, config: Config) {
    super(config);
    this.#client = client;
    this.#local = local;
  }

  override requiresPreparation(): boolean {
    return true;
  }

  override prepare(connection: Wire): void {
    if (this.#client.getTransactionStatus() === "I") {
      this.#isSetting = true;
      const { name, text, values } = this.#local;
      if (name === undefined) connection.parse({ text });
      connection.bind({ statement: name, values: [...values, this.#client.shownUser] });
      connection.execute({});
    }
    if (this.name !== undefined && this.#client.refusedNames.delete(this.name)) {
      connection.close({ type: "S", name: this.name });
    }
    super.prepare(connection);
  }

  override handleError(error: Error, connection: Wire): void {
    if (this.name !== undefined && connection.parsedStatements[this.name] === undefined) {
      this.#client.refusedNames.add(this.name);
    }
    super.handleError(error, connection);
  }

  override handleDataRow(message: unknown): void {
    if (!this.#isSetting) super.handleDataRow(message);
  }

  override handleCommandComplete(message: unknown, connection: Wire): void {
    if (this.#isSetting) this.#isSetting = false;
    else super.handleCommandComplete(message, connection);
  }
}

/**
 * A connection whose statements run under the settings of its pool. Directly connected, its session has them. Behind a
 * pooler each transaction sets them for itself, in the same round trip: the next one may get another backend.
 */
export class DatabaseClient extends pg.Client {
  readonly #session: SessionSettings;
  #local: LocalSettings | undefined;
  #stopping: Promise<void> | undefined;
  /** UUID of the user whose rows the statements behind a pooler see; empty for none. */
  shownUser = "";
  /** Names whose statements the server refused to parse: PgBouncer ends a connection that uses one again unclosed. */
  readonly refusedNames = new Set<string>();

  constructor(config: pg.ClientConfig | undefined, session: SessionSettings) {
    super(config);
    this.#session = session;
  }

  /** Whether a pooler is in between; known after `enter`. */
  get isPooled(): boolean {
    return this.#local !== undefined;
  }

  /** Applies the settings; to be called once, before any other statement. */
  async enter(): Promise<void> {
    const { settings, isPrepared } = this.#session;
    const { processID } = this as unknown as BackendAddress;
    const given = [settings.map(([name]) => name), settings.map(([, value]) => value)];
    const first: Config = { text: enterSql, values: [processID, ...given], query_timeout: enterMs };
    const { rows } = await this.query<{ is_own: boolean; watches: boolean }>(first);
    if (rows[0]?.is_own !== true) await this.#enterPooled(rows[0]?.watches === true);
    if (this.isPooled || !isPrepared) this.query = this.#send.bind(this) as typeof this.query;
  }

  async #enterPooled(watches: boolean): Promise<void> {
    const { settings, isPrepared } = this.#session;
    const all = watches ? [...settings, [watchSetting, String(watchMs)] as const] : settings;
    const names = [...all.map(([name]) => name), userSetting];
    const text = localSql(names, (index) => `$${index + 1}`);
    const values = all.map(([, value]) => value);
    const name = isPrepared ? localName : undefined;
    // Prepares the statement, and tells whether the login may take the role.
    const check: Config = { name, text, values: [...values, ""], query_timeout: enterMs };
    await this.query(check);
    this.#local = { text, name, values };
  }

  #send(asked: string | Config, values?: unknown[], callback?: Callback): Promise<unknown> | undefined {
    const given: Config = typeof asked === "string" ? { text: asked } : asked;
    const name = this.#session.isPrepared ? given.name : undefined;
    const config: Config = { ...given, name, values: values ?? given.values };
    const query = this.#local === undefined ? new DriverQuery(config) : new LocalQuery(this, this.#local, config);
    query.query_timeout = given.query_timeout;
    const send = (answered: Callback) => {
      query.callback = answered;
      super.query(query as unknown as pg.Submittable);
    };
    if (callback !== undefined) {
      send(callback);
      return undefined;
    }
    return new Promise((resolve, reject) => {
      send((error, result) => (error === null || error === undefined ? resolve(result) : reject(error)));
    });
  }

  /** Begins a transaction, behind a pooler with the settings. */
  async begin(): Promise<void> {
    const local = this.#local;
    if (local === undefined) {
      await this.query("begin");
      return;
    }
    const names = [...this.#session.settings.map(([name]) => name), userSetting];
    const literals = [...local.values.slice(0, names.length - 1), this.shownUser].map((value) => this.escapeLiteral(value));
    await super.query(`begin; ${localSql(names, (index) => literals[index] ?? "''")}`);
  }

  /**
   * Has the server stop the statement in flight, whose result nobody awaits any more. Resolves when the connection can
   * take the next statement; breaks the connection when the server does not stop it within some seconds.
   */
  abandon(): Promise<void> {
    this.#stopping ??= this.#stop().finally(() => {
      this.#stopping = undefined;
    });
    return this.#stopping;
  }

  async #stop(): Promise<void> {
    const driver = this as unknown as BackendAddress & { readyForQuery?: boolean; connection: { stream: { destroy(): void } } };
    const isOver = new AbortController();
    const over = () => isOver.abort();
    this.once("drain", over);
    this.once("end", over);
    for (let attempt = 0; attempt < cancelTries && !isOver.signal.aborted; attempt++) {
      if (driver.readyForQuery === true) break;
      // The request may arrive after the statement has ended: the next one waits until it has been taken.
      await sendCancelRequest(driver, cancelMs);
      await delay(cancelMs, undefined, { signal: isOver.signal, ref: false }).catch(ignore);
    }
    this.off("drain", over);
    this.off("end", over);
    if (driver.readyForQuery !== true) driver.connection.stream.destroy();
  }
}

function ignore(): void {}
