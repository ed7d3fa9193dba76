import { release } from "./release.ts";

const sampleMs = 1_000;
/** Samples of the last minute. */
const keptSamples = 60;

/** Figures of this process, as JSON. */
export interface ProcessFigures {
  readonly version: string;
  readonly uptime_seconds: number;
  readonly memory_bytes: number;
  readonly heap_bytes: number;
  /** The longest delay of the event loop in the last minute. */
  readonly loop_lag_ms: number;
}

/** Measures this process until it is stopped: the delay of its event loop once a second. */
export function watchProcess(): { figures(): ProcessFigures; stop(): void } {
  const lags: number[] = [];
  let sampledAt = performance.now();
  const sample = () => {
    const now = performance.now();
    lags.push(Math.max(0, now - sampledAt - sampleMs));
    if (lags.length > keptSamples) lags.shift();
    sampledAt = now;
  };
  const timer = setInterval(sample, sampleMs).unref();
  return {
    figures() {
      const { rss, heapUsed } = process.memoryUsage();
      return {
        version: release,
        uptime_seconds: Math.floor(process.uptime()),
        memory_bytes: rss,
        heap_bytes: heapUsed,
        loop_lag_ms: Math.round(Math.max(0, ...lags)),
      };
    },
    stop: () => clearInterval(timer),
  };
}
