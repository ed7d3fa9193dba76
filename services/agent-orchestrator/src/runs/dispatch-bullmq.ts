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
 *
 * The queue is named by the secret of the system. While that is being replaced, some processes send under one name and
 * some under the other, and every process takes the jobs of both.
 */
export function createBullDispatcher(
  deps: ClaimDeps & {
    redisUrl: string;
    /** Separates the queue from those of other systems on the same Redis. */
    system: string;
    /** Further names of this system, while its secret is being replaced: their jobs are taken too. */
    otherNames?: readonly string[];
  },
): Dispatcher {
  const { logger, redisUrl, system, otherNames = [] } = deps;
  const prefixOf = (name: string) => `turnwright:${name}`;
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
    prefix: prefixOf(system),
    skipVersionCheck: true,
    defaultJobOptions: { removeOnComplete: true, removeOnFail: true },
  });
  queue.on("error", onError);
  let workers: Worker<RunJob>[] = [];

  const startWorker = (drive: Drive, name: string): Worker<RunJob> => {
    const started = new Worker<RunJob>(
      queueName,
      async (job, token) => {
        if (!deps.hasRoom()) {
          await job.moveToDelayed(Date.now() + noRoomMs, token);
          throw new DelayedError();
        }
        await claimAndDrive(deps, drive, job.data.runId);
      },
      { connection: taking, prefix: prefixOf(name), concurrency, skipVersionCheck: true },
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
      workers = [system, ...otherNames].map((name) => startWorker(drive, name));
    },
    async close() {
      await local.close();
      await Promise.all(workers.map((worker) => worker.close(true).catch(() => {})));
      await queue.close().catch(() => {});
      taking.disconnect();
      sending.disconnect();
    },
  };
}
