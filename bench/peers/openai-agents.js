// The peer for the first delta of row P2: @openai/agents behind fastify, streamed as server-sent events.
// argv: the model's base URL.
import { Agent, OpenAIProvider, Runner, setTracingDisabled } from "@openai/agents";
import fastify from "fastify";

setTracingDisabled(true);
const runner = new Runner({
  modelProvider: new OpenAIProvider({ apiKey: "bench", baseURL: `${process.argv[2]}/v1`, useResponses: false }),
  tracingDisabled: true,
});
const agent = new Agent({ name: "bench", instructions: "Answer.", model: "gpt-4o-mini" });
const app = fastify({ logger: false });
app.post("/v1/chat/completions", async (request, reply) => {
  const result = await runner.run(agent, request.body.messages.at(-1).content, { stream: true });
  reply.hijack();
  reply.raw.writeHead(200, { "content-type": "text/event-stream" });
  for await (const event of result) {
    if (event.type === "raw_model_stream_event" && event.data.type === "output_text_delta")
      reply.raw.write(`data: ${JSON.stringify({ choices: [{ index: 0, delta: { content: event.data.delta } }] })}\n\n`);
  }
  reply.raw.end("data: [DONE]\n\n");
});
await app.listen({ port: 0, host: "127.0.0.1" });
console.log(JSON.stringify({ port: app.server.address().port }));
process.stdin.resume().on("end", () => process.exit(0));
