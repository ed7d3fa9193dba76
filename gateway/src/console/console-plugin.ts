import { promisify } from "node:util";
import { gzip } from "node:zlib";
import { ErrorReason, fail } from "@turnwright/platform/errors";
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import { serveHome } from "../home.ts";
import { takesGzip } from "../http/static-files.ts";
import type { ConsoleFile, LoadedConsole } from "./built-console.ts";
import { pageHeaders } from "./page-headers.ts";
import { type SessionDeps, serveSession } from "./session-routes.ts";
import { unbuiltPage, unbuiltPagePolicy } from "./unbuilt-page.ts";

/** Dependencies of the console. */
export interface ConsoleDeps extends SessionDeps {
  /** The built console; undefined: a page says how to build it. */
  readonly built: LoadedConsole | undefined;
}

const compress = promisify(gzip);
const html = "text/html; charset=utf-8";
const forever = "public, max-age=31536000, immutable";
/** Endings of files; other last segments with a dot are names of agents, tools and models. */
const fileEnding = /\.(?:js|mjs|css|map|svg|png|ico|jpe?g|webp|gif|html?|json|txt|xml|woff2?|webmanifest)$/i;

/** Sends bytes as they are or, to clients that take it, compressed: once for all of them. */
function sender({ type, bytes }: Omit<ConsoleFile, "path">, cacheControl: string) {
  let compressed: Promise<Buffer> | undefined;
  return async (request: FastifyRequest, reply: FastifyReply) => {
    reply.headers({ "content-type": type, "cache-control": cacheControl, vary: "accept-encoding" });
    if (!takesGzip(request.headers["accept-encoding"])) return reply.send(bytes);
    compressed ??= compress(bytes, { level: 9 });
    return reply.header("content-encoding", "gzip").send(await compressed);
  };
}

/**
 * Serves the console below `/console/`: one page for each path that names no file, its files for good, and the routes
 * of the browser's session; and leads browsers there from `/`.
 */
export function consolePlugin({ built, ...session }: ConsoleDeps) {
  return async (app: FastifyInstance): Promise<void> => {
    serveHome(app);
    await app.register(async (pages: FastifyInstance) => {
      // Last, so that the headers of errors are these as well.
      pages.addHook("onSend", async (request, reply) => {
        reply.headers(pageHeaders(request));
        if (built === undefined && reply.getHeader("content-type") === html) {
          reply.header("content-security-policy", unbuiltPagePolicy);
        }
      });
      serveSession(pages, session);
      const sendPage = sender({ type: html, bytes: built?.page ?? Buffer.from(unbuiltPage) }, "no-store");
      const files = new Map((built?.files ?? []).map((file) => [`/console/${file.path}`, sender(file, forever)]));
      const verbs = ["GET", "HEAD"];
      const config = { cors: false, verbs };
      for (const url of ["/console", "/console/*"]) {
        pages.get(url, { config }, async (request, reply) => {
          const path = request.url.split("?", 1)[0] ?? "";
          const sendFile = files.get(path);
          if (sendFile !== undefined) return sendFile(request, reply);
          if (path.startsWith("/console/assets/") || fileEnding.test(path)) {
            throw fail(ErrorReason.NOT_FOUND, `Nothing is served at ${path}.`);
          }
          // Relative addresses of the page need the slash.
          return path === "/console" ? reply.redirect("/console/") : sendPage(request, reply);
        });
        pages.route({
          url,
          method: ["DELETE", "OPTIONS", "PATCH", "POST", "PUT"],
          config,
          async handler(request, reply) {
            reply.header("allow", verbs.join(", "));
            throw fail(ErrorReason.METHOD_NOT_ALLOWED, `${request.method} is not served here; use ${verbs.join(" or ")}.`);
          },
        });
      }
    });
  };
}
