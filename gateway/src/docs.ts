import { createRequire } from "node:module";
import { dirname } from "node:path";
import fastifyStatic from "@fastify/static";
import openapi from "@turnwright/contract/openapi.json" with { type: "json" };
import type { FastifyInstance } from "fastify";

const uiFolder = dirname(createRequire(import.meta.url).resolve("swagger-ui-dist/package.json"));
const document = JSON.stringify(openapi);

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

/** Serves the API docs: Swagger UI at /swagger/index.html, the document at /swagger/doc.json and /openapi.json. */
export async function docsPlugin(app: FastifyInstance): Promise<void> {
  app.get("/swagger/index.html", (_request, reply) => reply.type("text/html; charset=utf-8").send(page));
  app.get("/swagger/start.js", (_request, reply) => reply.type("text/javascript; charset=utf-8").send(start));
  for (const path of ["/swagger", "/docs"]) app.get(path, (_request, reply) => reply.redirect("/swagger/index.html"));
  for (const path of ["/swagger/doc.json", "/openapi.json"]) {
    app.get(path, (_request, reply) => reply.type("application/json; charset=utf-8").send(document));
  }
  await app.register(fastifyStatic, {
    root: uiFolder,
    prefix: "/swagger/",
    index: false,
    allowedPath: (path) => /^\/(?:swagger-ui(?:-bundle)?\.(?:css|js)|favicon-\d+x\d+\.png)$/.test(path),
  });
}
