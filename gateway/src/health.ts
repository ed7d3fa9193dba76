import { ErrorReason, mappingOf, reasonOf } from "@turnwright/platform/errors";
import type { FastifyInstance } from "fastify";

/** Checks of the parts that requests need, by name; each rejects when its part cannot serve. */
export type ReadinessChecks = Readonly<Record<string, () => Promise<void>>>;

const checkTimeoutMs = 3_000;

async function withinTimeout(check: () => Promise<void>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error("no answer in time")), checkTimeoutMs);
  });
  try {
    await Promise.race([check(), late]);
  } finally {
    clearTimeout(timer);
  }
}

/** Serves /health (200 while the process is up) and /ready (503 naming the part that cannot serve). */
export function healthPlugin(checks: ReadinessChecks) {
  return async (app: FastifyInstance): Promise<void> => {
    app.get("/health", () => ({ success: true, data: { status: "ok" } }));
    app.get("/ready", async (_request, reply) => {
      const failures = await Promise.all(
        Object.entries(checks).map(async ([part, check]) => {
          try {
            await withinTimeout(check);
            return undefined;
          } catch (error) {
            const reason = reasonOf(error);
            return { part, mapping: mappingOf(reason === ErrorReason.INTERNAL ? ErrorReason.UNAVAILABLE : reason) };
          }
        }),
      );
      const failure = failures.find((candidate) => candidate !== undefined);
      if (failure === undefined) return { success: true, data: { status: "ready" } };
      const { part, mapping } = failure;
      const error = { message: `${part} is not ready.`, type: mapping.type, param: null, code: mapping.code || "UNAVAILABLE" };
      return reply.code(503).send({ success: false, error });
    });
  };
}
