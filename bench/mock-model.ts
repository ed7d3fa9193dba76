/**
 * A minimal model endpoint: answers at once, or streams 50 deltas (argv: milliseconds between them, 0 by default).
 * Prints its port. Runs as its own process, so that its CPU time is not attributed to a subject.
 */
import { createServer } from "node:http";

const delayMs = Number(process.argv[2] ?? 0);
const deltas = 50;
const head = `"id":"chatcmpl-bench","object":"chat.completion.chunk","created":1700000000,"model":"gpt-4o-mini"`;
const frame = (delta: string, finish: string | null) =>
  `data: {${head},"choices":[{"index":0,"delta":${delta},"finish_reason":${JSON.stringify(finish)}}]}\n\n`;
const frames = [
  ...Array.from({ length: deltas }, (_, i) => Buffer.from(frame(`{"content":" word${i}"}`, null))),
  Buffer.from(`${frame("{}", "stop")}data: [DONE]\n\n`),
];
const usageFrames = Buffer.from(
  `${frame("{}", "stop")}data: {${head},"choices":[],"usage":{"prompt_tokens":10,"completion_tokens":50,"total_tokens":60}}\n\ndata: [DONE]\n\n`,
);
const answer = Buffer.from(
  JSON.stringify({
    id: "chatcmpl-bench",
    object: "chat.completion",
    created: 1700000000,
    model: "gpt-4o-mini",
    choices: [{ index: 0, message: { role: "assistant", content: "Hello from the benchmark." }, finish_reason: "stop" }],
    usage: { prompt_tokens: 10, completion_tokens: 50, total_tokens: 60 },
  }),
);

const server = createServer((request, response) => {
  const chunks: Buffer[] = [];
  request.on("data", (chunk: Buffer) => chunks.push(chunk));
  request.on("end", () => {
    const body = chunks.length === 1 ? (chunks[0] as Buffer) : Buffer.concat(chunks);
    if (!body.includes('"stream":true')) {
      response.writeHead(200, { "content-type": "application/json", "content-length": answer.length });
      response.end(answer);
      return;
    }
    response.writeHead(200, { "content-type": "text/event-stream" });
    const last = body.includes('"include_usage":true') ? usageFrames : (frames[deltas] as Buffer);
    let sent = 0;
    const next = () => {
      if (sent < deltas) {
        response.write(frames[sent++] as Buffer);
        if (delayMs === 0) setImmediate(next);
        else setTimeout(next, delayMs);
      } else response.end(last);
    };
    next();
  });
});
server.keepAliveTimeout = 60_000;
server.listen(0, "127.0.0.1", () => {
  console.log(JSON.stringify({ port: (server.address() as { port: number }).port }));
});
process.stdin.resume().on("end", () => process.exit(0));
