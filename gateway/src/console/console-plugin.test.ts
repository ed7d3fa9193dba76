import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { request as undiciRequest } from "undici";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Fixture, startFixture } from "../../testing/gateway.ts";

const page = "<!doctype html><title>Turnwright</title>";
const script = `console.log(${JSON.stringify("a".repeat(3_000))});`;

let gateway: Fixture;
let folder: string;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "turnwright-console-test-"));
  mkdirSync(join(folder, "assets"));
  writeFileSync(join(folder, "index.html"), page);
  writeFileSync(join(folder, "assets/main-ABC.js"), script);
  writeFileSync(join(folder, "assets/secret.js"), "not in the manifest");
  writeFileSync(join(folder, "manifest.json"), JSON.stringify({ files: ["assets/main-ABC.js"] }));
  gateway = await startFixture({ env: { CONSOLE_DIR: folder } });
});
afterAll(async () => {
  await gateway.close();
  rmSync(folder, { recursive: true });
});

const policy =
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; " +
  "form-action 'self'; base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'";

async function get(path: string, headers: Record<string, string> = {}, method: "GET" | "HEAD" | "POST" = "GET") {
  const { statusCode, headers: answered, body } = await undiciRequest(`${gateway.url}${path}`, { method, headers });
  return { status: statusCode, headers: answered, bytes: Buffer.from(await body.arrayBuffer()) };
}

describe("the console", () => {
  test.each([
    "/console/",
    "/console/chat",
    "/console/runs/01985f3c?tab=events",
    "/console/tools/http.request",
    "/console/agents/a/diff/1..2",
  ])("is one page, never stored, at %s", async (path) => {
    const { status, headers, bytes } = await get(path);
    expect([status, bytes.toString()]).toEqual([200, page]);
    expect(headers).toMatchObject({ "content-type": "text/html; charset=utf-8", "cache-control": "no-store" });
  });

  test.each([
    "/console/assets/main-OLD.js",
    "/console/favicon.ico",
    "/console/main.js",
    "/console/assets/secret.js",
    "/console/assets/../manifest.json",
    "/console/assets/..%2findex.html",
  ])("has no file at %s", async (path) => {
    const { status, bytes } = await get(path);
    expect(status).toBe(404);
    expect(JSON.parse(bytes.toString())).toMatchObject({ success: false, error: { code: "NOT_FOUND" } });
  });

  test("serves its files for good, compressed where accepted", async () => {
    const plain = await get("/console/assets/main-ABC.js");
    expect(plain.bytes.toString()).toBe(script);
    expect(plain.headers).toMatchObject({
      "cache-control": "public, max-age=31536000, immutable",
      "content-type": "text/javascript; charset=utf-8",
      vary: "accept-encoding",
    });
    const zipped = await get("/console/assets/main-ABC.js", { "accept-encoding": "gzip" });
    expect(zipped.headers["content-encoding"]).toBe("gzip");
    expect(zipped.bytes.length).toBeLessThan(script.length / 4);
  });

  test.each(["/console/", "/console/assets/main-ABC.js", "/console/main.js", "/console/session"])(
    "sends the headers of a page that nobody frames and nothing foreign runs in, at %s",
    async (path) => {
      const { headers } = await get(path, {}, path === "/console/session" ? "POST" : "GET");
      expect(headers).toMatchObject({
        "content-security-policy": policy,
        "x-content-type-options": "nosniff",
        "referrer-policy": "no-referrer",
        "cross-origin-resource-policy": "same-origin",
        "cross-origin-opener-policy": "same-origin",
        "permissions-policy": "camera=(), microphone=(), geolocation=()",
      });
      expect(Object.keys(headers).filter((name) => name.startsWith("access-control-"))).toEqual([]);
    },
  );

  test("names an opener policy in secure contexts alone", async () => {
    const { headers } = await get("/console/", { host: "agents.test:8080" });
    expect(headers["cross-origin-opener-policy"]).toBe(undefined);
    expect(headers["content-security-policy"]).toBe(policy);
  });

  test("is entered through the root by browsers, and through its address without a slash", async () => {
    const root = await get("/", { accept: "text/html" });
    expect([root.status, root.headers.location]).toEqual([302, "/console/"]);
    const short = await get("/console");
    expect([short.status, short.headers.location]).toEqual([302, "/console/"]);
  });

  test("answers other verbs with 405, and HEAD without a body", async () => {
    const posted = await get("/console/chat", {}, "POST");
    expect([posted.status, posted.headers.allow]).toEqual([405, "GET, HEAD"]);
    const head = await get("/console/chat", {}, "HEAD");
    expect([head.status, head.bytes.length]).toEqual([200, 0]);
  });

  test("says how to build it where there is none", async () => {
    const unbuilt = await startFixture();
    try {
      const response = await fetch(`${unbuilt.url}/console/chat`);
      expect(response.status).toBe(200);
      expect(await response.text()).toContain("npm run console:build");
      expect(unbuilt.log.some(({ msg }) => msg === "the console is not built")).toBe(true);
      expect(response.headers.get("content-security-policy")).toMatch(/^default-src 'none'; style-src 'sha256-/);
    } finally {
      await unbuilt.close();
    }
  });
});
