import { connectRedis } from "@turnwright/platform/ports/redis";
import { DelayedError, Queue, Worker } from "bullmq";
import { type ClaimDeps, claimAndDrive, createLocalDispatcher, type Dispatcher, type Drive } from "./dispatch.ts";

const queueName = "runs";
/** Claims that one process makes at a time. A job ends with the claim; it does not last as long as the run. */
const concurrency = 16;
/** How long a job waits for a process with room, in milliseconds. */
const noRoomMs = 250;

interface RunJob {
  readonly runId: string;
}

/**
 * Makes a dispatcher over all orchestrators by a queue in Redis. A job is a hint and is done once its run is claimed,
 * by whichever worker: ownership of a run stands in the journal. A job that is lost, stalled or processed twice
 * therefore does no harm, and without Redis this process claims the run itself. Connects to Redis at once.
 */
export function createBullDispatcher(
  deps: ClaimDeps & {
    redisUrl: string;
    /** Separates the queue from those of other systems on the same Redis. */
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
    // BullMQ waits for the next job inside a blocking command.
    commandTimeout: undefined,
    enableOfflineQueue: true,
  });
  // The next heartbeat finds a run whose job failed; the connections log outages themselves.
  const onError = (error: Error) => logger.debug({ err: error }, "dispatch failed");
  const queue = new Queue<RunJob>(queueName, {
    connection: sending,
    prefix,
    skipVersionCheck: true,
    defaultJobOptions: { removeOnComplete: true, removeOnFail: true },
  });
  queue.on("error", onError);
  let worker: Worker<RunJob> | undefined;

  const startWorker = (drive: Drive): Worker<RunJob> => {
    const started = new Worker<RunJob>(
      queueName,
      async (job, token) => {
        if (!deps.hasRoom()) {
          await job.moveToDelayed(Date.now() + noRoomMs, token);
          throw new DelayedError();
        }
        await claimAndDrive(deps, drive, job.data.runId);
      },
      { connection: taking, prefix, concurrency, skipVersionCheck: true },
    );
    started.on("error", onError);
    return started;
  };

  return {
    dispatch(runId, delayMs = 0) {
      queue.add("run", { runId }, { delay: delayMs }).catch(() => local.dispatch(runId, delayMs));
    },
    start(drive) {
      local.start(drive);
      worker = startWorker(drive);
    },
    async close() {
      await local.close();
      await worker?.close(true).catch(() => {});
      await queue.close().catch(() => {});
      taking.disconnect();
      sending.disconnect();
    },
  };
}
