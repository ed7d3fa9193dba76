import { createHash } from "node:crypto";

const style = `body { margin: 4rem auto; max-width: 36rem; padding: 0 1rem; font: 16px/1.6 system-ui, sans-serif; }
li { margin: 0.4rem 0; }
@media (prefers-color-scheme: dark) { body { background: #16181d; color: #e6e6e6; } a { color: #8ab4f8; } }`;

/** The page in place of a console that is not built: how to build it, and the addresses of the API. */
export const unbuiltPage = `<!doctype html>
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
<p>The console is not built. Run <code>npm run console:build</code> in the checkout, then start the server again.</p>
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

/** The policy of that page: nothing but its own style and icon. */
export const unbuiltPagePolicy = [
  "default-src 'none'",
  `style-src 'sha256-${createHash("sha256").update(style).digest("base64")}'`,
  "img-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join("; ");
