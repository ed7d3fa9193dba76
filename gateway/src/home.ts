import { createHash } from "node:crypto";
import type { FastifyInstance } from "fastify";

const style = `body { margin: 4rem auto; max-width: 36rem; padding: 0 1rem; font: 16px/1.6 system-ui, sans-serif; }
li { margin: 0.4rem 0; }
@media (prefers-color-scheme: dark) { body { background: #16181d; color: #e6e6e6; } a { color: #8ab4f8; } }`;

const page = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Turnwright</title>
<link rel="icon" type="image/png" href="/swagger/favicon-32x32.png">
<style>${style}</style>
</head>
<body>
<h1>Turnwright</h1>
<p>This is the address of an API. Programs that speak OpenAI's API use it with the path <code>/v1</code>.</p>
<ul>
<li><a href="/swagger/index.html">API docs</a>: every operation, to try out</li>
<li><a href="/openapi.json">OpenAPI document</a></li>
<li><a href="/health">Health</a>: whether the server is up</li>
<li><a href="/ready">Readiness</a>: whether every part can serve</li>
</ul>
</body>
</html>
`;

const pagePolicy = [
  "default-src 'none'",
  `style-src 'sha256-${createHash("sha256").update(style).digest("base64")}'`,
  "img-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join("; ");

/** The weight that an Accept header gives to a type, from 0 to 1; 0 when it does not name the type. */
function weightOf(accepted: string, type: string): number {
  for (const range of accepted.toLowerCase().split(",")) {
    const [name = "", ...parameters] = range.split(";").map((part) => part.trim());
    if (name !== type) continue;
    const weight = parameters.find((parameter) => parameter.startsWith("q="));
    return weight === undefined ? 1 : Number(weight.slice(2)) || 0;
  }
  return 0;
}

/** Whether a client prefers a page to JSON, as browsers do. A client that takes anything gets JSON. */
function wantsPage(accepted = ""): boolean {
  const weight = weightOf(accepted, "text/html");
  return weight > 0 && weight >= weightOf(accepted, "application/json");
}

/** Serves a page with the server's addresses at `/` to browsers; other clients get the error of an unknown path. */
export function serveHome(app: FastifyInstance): void {
  const bytes = Buffer.from(page);
  app.get("/", (request, reply) => {
    const vary = reply.getHeader("vary");
    reply.header("vary", vary === undefined ? "accept" : `${vary}, accept`);
    if (!wantsPage(request.headers.accept)) return reply.callNotFound();
    return reply.headers({ "content-type": "text/html; charset=utf-8", "content-security-policy": pagePolicy }).send(bytes);
  });
}
