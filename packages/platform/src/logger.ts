import { type DestinationStream, type Logger as PinoLogger, pino } from "pino";

/** The structured logger that every part takes from its `deps`. */
export type Logger = PinoLogger;

/** Log levels, as LOG_LEVEL names them. */
export const logLevels = ["trace", "debug", "info", "warn", "error", "fatal", "silent"] as const;

const secretFields = [
  "password",
  "token",
  "access_token",
  "refresh_token",
  "internal_token",
  "authorization",
  "key",
  "grant",
  "secret",
];

/** A JSON logger on standard output. Messages are constant; what varies stands in fields. Secret-bearing fields are redacted. */
export function createLogger(options: { service: string; level?: string; destination?: DestinationStream }): Logger {
  return pino(
    {
      level: options.level ?? "info",
      base: { service: options.service },
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      redact: { paths: [...secretFields, ...secretFields.map((name) => `*.${name}`)], censor: "[redacted]" },
    },
    options.destination ?? pino.destination({ dest: 1, sync: false, minLength: 0 }),
  );
}
