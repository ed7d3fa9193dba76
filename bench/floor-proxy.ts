/**
 * The baseline proxy: fastify + undici.request, bytes in, bytes out, without authentication, limits, logs or tools.
 * argv: the model's base URL.
 */
import fastify from "fastify";
import { Pool } from "undici";

const target = new URL(process.argv[2] ?? "");
const pool = new Pool(target.origin, { connections: 64 });
const app = fastify({ logger: false });
app.removeAllContentTypeParsers();
app.addContentTypeParser("*", { parseAs: "buffer" }, (_request, body, done) => done(null, body));
app.post("/v1/chat/completions", async (request, reply) => {
  const upstream = await pool.request({
    path: "/v1/chat/completions",
    method: "POST",
    headers: { "content-type": "application/json" },
    body: request.body as Buffer,
  });
  reply.code(upstream.statusCode).header("content-type", upstream.headers["content-type"] as string);
  return reply.send(upstream.body);
});
await app.listen({ port: 0, host: "127.0.0.1" });
console.log(JSON.stringify({ port: (app.server.address() as { port: number }).port }));
process.stdin.resume().on("end", () => process.exit(0));
