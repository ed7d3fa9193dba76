import { detailOf, reasonName, reasonOf } from "./errors.ts";
import type { Logger } from "./logger.ts";

type Fields = Readonly<Record<string, unknown>>;

/** A failure of something that was to be done for a user: a model call, a tool call, a delivery, a run. */
interface Failure {
  /** Constant. */
  readonly message: string;
  /** The model, tool or host that failed: failures are counted apart for each. */
  readonly subject: readonly string[];
  readonly error: unknown;
  /** Called only for a failure that is written. */
  readonly fields: () => Fields;
}

/** Warns of failures, as far as a log can take them. */
export interface FailureLog {
  warn(failure: Failure): void;
}

/** How many lines may be written within a window. */
export interface FailureLogLimits {
  readonly windowMs: number;
  /** Lines of one message, subject and cause at once. */
  readonly perKind: number;
  /** Lines of all kinds at once, and again at the end of the window. */
  readonly inAll: number;
  /** Kinds that are told apart; those beyond it count as one for each message. */
  readonly kinds: number;
}

const usualLimits: FailureLogLimits = { windowMs: 10_000, perKind: 5, inAll: 100, kinds: 1_000 };

const maxDepth = 6;
const maxWords = 1_000;
const codeName = /^[A-Z0-9][A-Z0-9_]{2,63}$/;
const className = /^\w{1,64}$/;

/** The errors behind an error, the outermost first. */
function chainOf(error: unknown): Error[] {
  const chain: Error[] = [];
  for (let next = error; next instanceof Error && chain.length < maxDepth; ) {
    chain.push(next);
    // An attempt at each address of a name: the last one tells as much as any.
    next = next.cause ?? (next instanceof AggregateError ? next.errors.at(-1) : undefined);
  }
  return chain;
}

/**
 * The innermost cause of an error as a short name: the code of a system call, of TLS, of a driver or of undici
 * (`ECONNREFUSED`, `CERT_HAS_EXPIRED`, `57P01`, `UND_ERR_SOCKET`), else the name of its class; undefined when neither
 * tells more than that it is an error.
 */
export function causeOf(error: unknown): string | undefined {
  const chain = chainOf(error).reverse();
  for (const one of chain) {
    const { code } = one as Error & { code?: unknown };
    if (typeof code === "string" && codeName.test(code)) return code;
  }
  const named = chain.find(({ name }) => name !== "Error" && name !== "ConnectError" && className.test(name));
  return named?.name;
}

/** HTTP status of another side's answer that an error or one behind it has as `status`. */
function statusOf(error: unknown): number | undefined {
  return chainOf(error)
    .map((one) => (one as Error & { status?: unknown }).status)
    .find((status): status is number => Number.isInteger(status) && Number(status) >= 100 && Number(status) <= 599);
}

/**
 * The facts about an error for a log line: `reason`, `cause`, the `status` of another side's answer and, where they are
 * told, the words that were made for callers. An unexpected error has its place in the code in place of words, which
 * may hold anything.
 */
export function errorFacts(error: unknown): { reason: string; cause?: string; status?: number; error?: string; at?: string } {
  const isTold = detailOf(error) !== undefined;
  const facts = { reason: reasonName(reasonOf(error)), cause: causeOf(error), status: statusOf(error) };
  if (isTold) return { ...facts, error: (error as { rawMessage: string }).rawMessage.slice(0, maxWords) };
  return { ...facts, at: placeOf(error) };
}

/** The place where an error was made: `file:line:column` of the innermost frame in the stack. */
function placeOf(error: unknown): string | undefined {
  if (!(error instanceof Error)) return undefined;
  const { message, stack = "" } = error;
  // The message stands before the frames and may look like one.
  const start = stack.indexOf(message);
  const frames = start === -1 ? stack : stack.slice(start + message.length);
  return /^\s+at (?:async )?(?:.*? \()?((?:file:|node:|\/).{1,300}?:\d+:\d+)\)?$/m.exec(frames)?.[1];
}

/** Failures of one kind within the current window. */
interface Kind {
  written: number;
  /** Failures since the last line; `latest` is the last of them. */
  leftOut: number;
  latest?: Failure;
}

/**
 * Creates a log of failures that an outage or a hostile user can produce by the thousand. In each window the first
 * failures of a kind are written at once; of the others the last one is written at the window's end, and `left_out`
 * counts those before it. Costs no timer while nothing fails.
 */
export function createFailureLog(logger: Logger, limits: Partial<FailureLogLimits> = {}): FailureLog {
  const { windowMs, perKind, inAll, kinds: maxKinds } = { ...usualLimits, ...limits };
  const kinds = new Map<string, Kind>();
  let written = 0;
  let isOpen = false;

  const write = ({ message, error, fields }: Failure, leftOut: number): void => {
    const count = leftOut > 0 ? { left_out: leftOut } : {};
    logger.warn({ ...errorFacts(error), ...fields(), ...count }, message);
  };
  const kindOf = ({ message, subject, error }: Failure): Kind => {
    const own = JSON.stringify([message, ...subject, reasonOf(error), causeOf(error)]);
    const key = kinds.has(own) || kinds.size < maxKinds ? own : JSON.stringify([message]);
    let kind = kinds.get(key);
    if (kind === undefined) {
      kind = { written: 0, leftOut: 0 };
      kinds.set(key, kind);
    }
    return kind;
  };
  const endWindow = (): void => {
    isOpen = false;
    const waiting = [...kinds.values()].filter(({ leftOut }) => leftOut > 0);
    kinds.clear();
    written = 0;
    for (const { latest, leftOut } of waiting.slice(0, inAll)) if (latest !== undefined) write(latest, leftOut - 1);
    const rest = waiting.slice(inAll);
    if (rest.length === 0) return;
    const leftOut = rest.reduce((sum, kind) => sum + kind.leftOut, 0);
    logger.warn({ left_out: leftOut, kinds: rest.length }, "further failures are not written");
  };

  return {
    warn(failure) {
      if (!isOpen) setTimeout(endWindow, windowMs).unref();
      isOpen = true;
      const kind = kindOf(failure);
      if (kind.written < perKind && written < inAll) {
        kind.written += 1;
        written += 1;
        write(failure, 0);
        return;
      }
      kind.leftOut += 1;
      kind.latest = failure;
    },
  };
}
