import { connectRedis } from "@turnwright/platform/ports/redis";
import { DelayedError, Queue, Worker } from "bullmq";
import { type ClaimDeps, claimAndDrive, createLocalDispatcher, type Dispatcher } from "./dispatch.ts";

const queueName = "runs";
/** Claims that one process makes at a time; the runs themselves are no jobs. */
const concurrency = 16;
/** How long a job waits for a process with room, in milliseconds. */
const noRoomMs = 250;

interface RunJob {
  readonly runId: string;
}

/**
 * Dispatches over all orchestrators by a queue in Redis. A job is a hint and done once its run is claimed, or was claimed by another: what makes a
 * run somebody's is the journal. So a job that is lost, stalled or done twice does no harm, and without Redis this process claims by itself.
 */
export function createBullDispatcher(
  deps: ClaimDeps & {
    redisUrl: string;
    /** Keeps the queue apart from those of other systems on the same Redis. */
    system: string;
  },
): Dispatcher {
  const { logger, redisUrl } = deps;
  const prefix = `turnwright:${deps.system}`;
  const local = createLocalDispatcher(deps);
  const sending = connectRedis(redisUrl, { name: "turnwright-dispatch", logger });
  const taking = connectRedis(redisUrl, {
    name: "turnwright-worker",
    logger,
    // It waits inside of a command for the next job.
    commandTimeout: undefined,
    enableOfflineQueue: true,
  });
  const queue = new Queue<RunJob>(queueName, {
    connection: sending,
    prefix,
    skipVersionCheck: true,
    defaultJobOptions: { removeOnComplete: true, removeOnFail: true },
  });
  const worker = new Worker<RunJob>(
    queueName,
    async (job, token) => {
      if (!deps.hasRoom()) {
        await job.moveToDelayed(Date.now() + noRoomMs, token);
        throw new DelayedError();
      }
      await claimAndDrive(deps, job.data.runId);
    },
    { connection: taking, prefix, concurrency, skipVersionCheck: true },
  );
  // What fails is found in the journal by the next beat; connections tell of outages by themselves.
  const onError = (error: Error) => logger.debug({ err: error }, "dispatch failed");
  queue.on("error", onError);
  worker.on("error", onError);

  return {
    dispatch(runId, delayMs = 0) {
      queue.add("run", { runId }, { delay: delayMs }).catch(() => local.dispatch(runId, delayMs));
    },
    async close() {
      await local.close();
      await worker.close(true).catch(() => {});
      await queue.close().catch(() => {});
      taking.disconnect();
      sending.disconnect();
    },
  };
}
