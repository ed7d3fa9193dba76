import { type DestinationStream, type Logger as PinoLogger, pino } from "pino";

/** The structured logger that every part takes from its `deps`. */
export type Logger = PinoLogger;

/** Log levels, as LOG_LEVEL names them. */
export const logLevels = ["trace", "debug", "info", "warn", "error", "fatal", "silent"] as const;

const secretFields: ReadonlySet<string> = new Set([
  "password",
  "token",
  "access_token",
  "refresh_token",
  "internal_token",
  "authorization",
  "key",
  "api_key",
  "grant",
  "secret",
  "invite",
  "cookie",
]);
const censored = "[redacted]";

type Fields = Record<string, unknown>;

function isPlainObject(value: unknown): value is Fields {
  return typeof value === "object" && value !== null && Object.getPrototypeOf(value) === Object.prototype;
}

/**
 * Redacts secret fields by name, two levels deep. Copies only when there is something to redact: pino's own redaction
 * costs 12 µs per line with these names, five times as much as the rest of a log line.
 */
function redact(fields: Fields): Fields {
  let result = fields;
  const hide = (name: string, value: unknown) => {
    if (result === fields) result = { ...fields };
    result[name] = value;
  };
  for (const name in fields) {
    const value = fields[name];
    if (secretFields.has(name.toLowerCase())) hide(name, censored);
    else if (isPlainObject(value)) {
      const secrets = Object.keys(value).filter((inner) => secretFields.has(inner.toLowerCase()));
      if (secrets.length > 0) hide(name, { ...value, ...Object.fromEntries(secrets.map((inner) => [inner, censored])) });
    }
  }
  return result;
}

/** An error as it appears in logs. Drivers attach whole connections to their errors; these are not logged. */
function errorFields(error: unknown): unknown {
  if (!(error instanceof Error)) return error;
  const { code, cause } = error as Error & { code?: unknown };
  return {
    type: error.name,
    message: error.message,
    code: typeof code === "string" || typeof code === "number" ? code : undefined,
    stack: error.stack,
    cause: cause instanceof Error ? `${cause.name}: ${cause.message}` : undefined,
  };
}

/**
 * Creates a JSON logger on standard output. Messages are constant; variable data goes into fields. Fields with secrets
 * are redacted.
 */
export function createLogger(options: { service: string; level?: string; destination?: DestinationStream }): Logger {
  return pino(
    {
      level: options.level ?? "info",
      base: { service: options.service },
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }), log: redact },
      serializers: { err: errorFields },
    },
    options.destination ?? pino.destination({ dest: 1, sync: false, minLength: 0 }),
  );
}
