/**
 * A load generator over raw sockets, cheap enough not to dominate the measurement: HTTP/1.1 with keep-alive, one
 * request at a time on each connection. Runs as a worker process: one JSON job per line on standard input, one JSON
 * result per line on standard output.
 */
import { connect } from "node:net";
import { createInterface } from "node:readline";

/** The request to send, and for how long. */
export interface Job {
  port: number;
  body: string;
  headers: Record<string, string>;
  connections: number;
  /** Runs for this long… */
  milliseconds: number;
  /** …or for this many requests, when not 0. */
  requests: number;
}

/** The measurements of a job. */
export interface Result {
  requests: number;
  failures: number;
  seconds: number;
  /** Milliseconds from the request to the end of the response. */
  p50: number;
  p99: number;
  /** Milliseconds from the request to the first `data:` line with content; 0 without a stream. */
  firstDeltaP50: number;
}

const headEnd = Buffer.from("\r\n\r\n");
const lastChunk = Buffer.from("0\r\n\r\n");
const firstContent = Buffer.from('"content":" ');

function quantile(sorted: readonly number[], q: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))] ?? 0;
}

async function run(job: Job): Promise<Result> {
  const request = Buffer.from(
    [
      "POST /v1/chat/completions HTTP/1.1",
      `host: 127.0.0.1:${job.port}`,
      "content-type: application/json",
      `content-length: ${Buffer.byteLength(job.body)}`,
      ...Object.entries(job.headers).map(([name, value]) => `${name}: ${value}`),
      "",
      job.body,
    ].join("\r\n"),
  );
  const latencies: number[] = [];
  const firstDeltas: number[] = [];
  let failures = 0;
  let left = job.requests;
  const started = performance.now();
  const until = job.requests > 0 ? Number.POSITIVE_INFINITY : started + job.milliseconds;

  await Promise.all(
    Array.from(
      { length: job.connections },
      () =>
        new Promise<void>((resolve, reject) => {
          const socket = connect(job.port, "127.0.0.1");
          socket.setNoDelay(true);
          let sentAt = 0;
          let buffered: Buffer | undefined;
          let bodyAt = -1;
          let length = -1;
          let sawFirst = false;
          const send = () => {
            if (performance.now() >= until || (job.requests > 0 && left-- <= 0)) {
              socket.end();
              resolve();
              return;
            }
            buffered = undefined;
            bodyAt = -1;
            length = -1;
            sawFirst = false;
            sentAt = performance.now();
            socket.write(request);
          };
          socket.on("connect", send);
          socket.on("error", reject);
          socket.on("close", () => resolve());
          socket.on("data", (chunk) => {
            buffered = buffered === undefined ? chunk : Buffer.concat([buffered, chunk]);
            if (bodyAt < 0) {
              const at = buffered.indexOf(headEnd);
              if (at < 0) return;
              bodyAt = at + 4;
              const head = buffered.toString("latin1", 0, at);
              if (!head.startsWith("HTTP/1.1 200")) failures++;
              const match = /content-length: (\d+)/i.exec(head);
              length = match === null ? -1 : Number(match[1]);
            }
            if (!sawFirst && length < 0 && buffered.indexOf(firstContent) >= 0) {
              sawFirst = true;
              firstDeltas.push(performance.now() - sentAt);
            }
            const done =
              length >= 0
                ? buffered.length >= bodyAt + length
                : buffered.length >= 5 && buffered.subarray(buffered.length - 5).equals(lastChunk);
            if (!done) return;
            latencies.push(performance.now() - sentAt);
            send();
          });
        }),
    ),
  );
  const seconds = (performance.now() - started) / 1000;
  latencies.sort((a, b) => a - b);
  firstDeltas.sort((a, b) => a - b);
  return {
    requests: latencies.length,
    failures,
    seconds,
    p50: quantile(latencies, 0.5),
    p99: quantile(latencies, 0.99),
    firstDeltaP50: quantile(firstDeltas, 0.5),
  };
}

if (process.argv[1] === import.meta.filename) {
  for await (const line of createInterface({ input: process.stdin })) console.log(JSON.stringify(await run(JSON.parse(line))));
}
