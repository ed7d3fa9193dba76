import { createLogger, type Logger } from "@turnwright/platform/logger";

/** A line of the log, as JSON. */
export type LoggedLine = Record<string, unknown> & { level: string; msg: string };

/** A logger that keeps its lines, from the level `info` on. */
export function createLoggedLines(): { readonly logger: Logger; readonly lines: LoggedLine[]; warnings(): LoggedLine[] } {
  const lines: LoggedLine[] = [];
  const logger = createLogger({ service: "test", destination: { write: (text) => void lines.push(JSON.parse(text)) } });
  return { logger, lines, warnings: () => lines.filter(({ level }) => level !== "info") };
}
