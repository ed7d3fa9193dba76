import { ConnectError } from "@connectrpc/connect";
import { ErrorReason, mappingOf, type ReasonMapping, reasonOf } from "@turnwright/platform/errors";
import type { Logger } from "@turnwright/platform/logger";
import { databaseLacks } from "@turnwright/platform/postgres/database-errors";
import type { ServiceHealth } from "@turnwright/platform/rpc/grpc-health";
import type { FastifyInstance } from "fastify";
import { clockWords, type PartClocks, type WrongClock, wrongClocks } from "./clocks.ts";

/**
 * Readiness checks by part name. Each rejects when its part cannot serve, and may report how many instances do. Order
 * matters: when several fail, the first one is reported, so a part comes after the parts it depends on.
 */
export type ReadinessChecks = Readonly<Record<string, () => Promise<ServiceHealth> | Promise<void>>>;

/** Options of the readiness check. */
export interface HealthOptions {
  readonly checks: ReadinessChecks;
  /** The clocks of the parts, as of the last checks. */
  readonly clocks?: () => PartClocks;
  /** Rejects when this process cannot serve. */
  readonly self: () => Promise<void>;
  readonly logger: Logger;
}

const checkTimeoutMs = 3_000;
/** Milliseconds for which a verdict is reused. */
const freshMs = 1_000;

/** The result of one round of checks. */
export interface Verdict {
  /** Why nothing can be served, if so. */
  readonly fault?: { readonly message: string; readonly mapping: ReasonMapping };
  /** Serving parts, some of whose instances do not serve. */
  readonly degraded: readonly { part: string; serving: number; replicas: number }[];
  /** States of interest of serving parts, by part. */
  readonly details: Readonly<Record<string, object>>;
}

async function withinTimeout<T>(check: () => Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error("no answer in time")), checkTimeoutMs);
  });
  try {
    return await Promise.race([check(), late]);
  } finally {
    clearTimeout(timer);
  }
}

interface Failure {
  readonly part: string;
  readonly reason: ErrorReason;
  /** The words of the part's own error; a part in another process tells the reason alone. */
  readonly words?: string;
}

/** Reports stores before parts: every part that depends on a store fails with it. */
function faultOf(failures: readonly Failure[]): Verdict["fault"] {
  const ofDatabase = failures.filter(({ reason }) => reason === ErrorReason.DATABASE_UNAVAILABLE);
  if (ofDatabase.length > 0) {
    const askers = ofDatabase.map(({ part }) => part).join(", ");
    const lack = ofDatabase.find(({ words = "" }) => databaseLacks.has(words))?.words;
    const told = lack === undefined ? `no answer to ${askers}` : `${lack}; it refuses ${askers}`;
    return { message: `database is not ready: ${told}.`, mapping: mappingOf(ErrorReason.DATABASE_UNAVAILABLE) };
  }
  const first = failures.find(({ reason }) => reason === ErrorReason.REDIS_UNAVAILABLE) ?? failures[0];
  return first && { message: `${first.part} is not ready.`, mapping: mappingOf(first.reason) };
}

/** Reports a wrong clock before anything else: parts whose tokens are refused fail with it. */
function clockFault(wrong: readonly WrongClock[]): Verdict["fault"] {
  const whole = wrong.find(({ isWhole }) => isWhole);
  return whole && { message: `${whole.part} is not ready: ${clockWords(whole)}.`, mapping: mappingOf(ErrorReason.CLOCK_SKEW) };
}

async function ask({ checks, clocks = () => ({}) }: HealthOptions): Promise<Verdict> {
  const failures: Failure[] = [];
  const degraded: Verdict["degraded"][number][] = [];
  const details: Record<string, object> = {};
  const names = Object.keys(checks);
  await Promise.all(
    Object.entries(checks).map(async ([part, check]) => {
      try {
        const health = await withinTimeout<ServiceHealth | undefined>(async () => (await check()) ?? undefined);
        if (health?.details !== undefined) details[part] = health.details;
        if (health === undefined || health.failing.length === 0) return;
        degraded.push({ part, serving: health.serving, replicas: health.serving + health.failing.length });
      } catch (error) {
        const reason = reasonOf(error);
        const words = error instanceof ConnectError ? error.rawMessage : undefined;
        failures.push({ part, reason: reason === ErrorReason.INTERNAL ? ErrorReason.UNAVAILABLE : reason, words });
      }
    }),
  );
  const inOrder = (a: { part: string }, b: { part: string }) => names.indexOf(a.part) - names.indexOf(b.part);
  const wrong = wrongClocks(clocks());
  for (const clock of wrong) details[clock.part] = { ...details[clock.part], clock: clockWords(clock) };
  return { fault: clockFault(wrong) ?? faultOf(failures.sort(inOrder)), degraded: degraded.sort(inOrder), details };
}

/** Shares one round of checks among all requests at the same time and within the next second. */
function sharedLook(options: HealthOptions): () => Promise<Verdict> {
  const { logger } = options;
  let latest: { readonly verdict: Promise<Verdict>; until: number } | undefined;
  let said = "";
  return () => {
    if (latest !== undefined && performance.now() < latest.until) return latest.verdict;
    const look = { verdict: ask(options), until: Number.POSITIVE_INFINITY };
    latest = look;
    // Never rejects: a check that fails is a verdict.
    void look.verdict.then(({ fault, degraded }) => {
      look.until = performance.now() + freshMs;
      const state = JSON.stringify([fault?.message, degraded]);
      if (state !== said && fault !== undefined) logger.warn({ fault: fault.message, degraded }, "not ready");
      else if (state !== said && (said !== "" || degraded.length > 0)) logger.info({ degraded }, "ready");
      said = state;
    });
    return look.verdict;
  };
}

/**
 * Returns a check of whether this process and its parts can serve; it never rejects. Answers of the parts are reused
 * for one second.
 */
export function createReadiness(options: HealthOptions): () => Promise<Verdict> {
  const look = sharedLook(options);
  return async () => {
    // Shutdown of this process is known without a check.
    const own = await options.self().then(
      () => undefined,
      (error: unknown) => faultOf([{ part: "gateway", reason: reasonOf(error) }]),
    );
    return own === undefined ? look() : { fault: own, degraded: [], details: {} };
  };
}

/**
 * Serves /health (200 while the process is up) and /ready: 503 with the part that cannot serve, or 200 with the parts
 * that lack instances and states of interest.
 */
export function healthPlugin(readiness: () => Promise<Verdict>) {
  return async (app: FastifyInstance): Promise<void> => {
    app.get("/health", () => ({ success: true, data: { status: "ok" } }));
    app.get("/ready", async (_request, reply) => {
      const { fault, degraded, details } = await readiness();
      if (fault === undefined) {
        const lacking = degraded.length === 0 ? {} : { degraded };
        const told = Object.keys(details).length === 0 ? {} : { details };
        return { success: true, data: { status: "ready", ...lacking, ...told } };
      }
      const { message, mapping } = fault;
      const error = { message, type: mapping.type, param: null, code: mapping.code || "UNAVAILABLE" };
      return reply.code(503).send({ success: false, error });
    });
  };
}
