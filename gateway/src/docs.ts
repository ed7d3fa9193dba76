import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import type { FastifyInstance } from "fastify";
import { serveFile } from "./http/static-files.ts";

const require = createRequire(import.meta.url);
const uiFolder = dirname(require.resolve("swagger-ui-dist/package.json"));
const documentFile = require.resolve("@turnwright/contract/openapi.json");

let document: Buffer | undefined;

/** The OpenAPI document, without the white space of its file. */
function openapi(): Buffer {
  document ??= Buffer.from(JSON.stringify(JSON.parse(readFileSync(documentFile, "utf8"))));
  return document;
}

const page = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Turnwright API</title>
<link rel="stylesheet" href="./swagger-ui.css">
<link rel="icon" type="image/png" href="./favicon-32x32.png">
</head>
<body>
<div id="swagger-ui"></div>
<script src="./swagger-ui-bundle.js"></script>
<script src="./start.js"></script>
</body>
</html>
`;

const start = `window.ui = SwaggerUIBundle({
  url: "/swagger/doc.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  persistAuthorization: true,
  tryItOutEnabled: true,
  validatorUrl: null,
});
`;

/** Swagger UI draws its icons from data: URLs; everything else is served from here as files. */
const pagePolicy = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self' data:",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join("; ");

const types = {
  html: "text/html; charset=utf-8",
  js: "text/javascript; charset=utf-8",
  css: "text/css; charset=utf-8",
  json: "application/json; charset=utf-8",
  png: "image/png",
} as const;

const uiFiles = ["swagger-ui.css", "swagger-ui-bundle.js", "favicon-16x16.png", "favicon-32x32.png"] as const;

function typeOf(name: (typeof uiFiles)[number]): string {
  return types[name.slice(name.lastIndexOf(".") + 1) as keyof typeof types];
}

/** Serves the API docs: Swagger UI at /swagger/index.html, the document at /swagger/doc.json and /openapi.json. */
export async function docsPlugin(app: FastifyInstance): Promise<void> {
  const headers = { "content-security-policy": pagePolicy };
  serveFile(app, { path: "/swagger/index.html", type: types.html, bytes: Buffer.from(page), headers });
  serveFile(app, { path: "/swagger/start.js", type: types.js, bytes: Buffer.from(start) });
  for (const path of ["/swagger/doc.json", "/openapi.json"]) serveFile(app, { path, type: types.json, bytes: openapi });
  for (const name of uiFiles) {
    serveFile(app, { path: `/swagger/${name}`, type: typeOf(name), bytes: () => readFileSync(join(uiFolder, name)) });
  }
  for (const path of ["/swagger", "/docs"]) app.get(path, (_request, reply) => reply.redirect("/swagger/index.html"));
}
