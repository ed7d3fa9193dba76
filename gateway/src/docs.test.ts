import openapi from "@turnwright/contract/openapi.json" with { type: "json" };
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Fixture, startFixture } from "../testing/gateway.ts";
import { restError } from "./http/error-body.ts";

let gateway: Fixture;
beforeAll(async () => {
  gateway = await startFixture();
});
afterAll(() => gateway.close());

const get = (path: string) => fetch(`${gateway.url}${path}`, { redirect: "manual" });

describe("API docs", () => {
  test("serves Swagger UI and everything its page loads from this server", async () => {
    const page = await get("/swagger/index.html");
    expect(page.status).toBe(200);
    expect(page.headers.get("content-type")).toBe("text/html; charset=utf-8");
    const html = await page.text();
    const parts = [...html.matchAll(/(?:src|href)="([^"]+)"/g)].map((match) => match[1] ?? "");
    expect(parts.length).toBeGreaterThan(3);
    for (const part of parts) {
      expect(part).toMatch(/^\.\//);
      const response = await get(new URL(part, "http://a/swagger/index.html").pathname);
      expect([part, response.status]).toEqual([part, 200]);
    }
  });

  test("needs no inline script, so that a strict content policy holds", async () => {
    const html = await (await get("/swagger/index.html")).text();
    expect(html).not.toMatch(/<script(?![^>]*\ssrc=)|\son\w+=|javascript:|<style/i);
  });

  test.each(["/swagger", "/swagger/", "/docs"])("redirects %s to the page", async (path) => {
    const response = await get(path);
    expect(response.status).toBe(302);
    expect(response.headers.get("location")).toBe("/swagger/index.html");
  });

  test.each(["/swagger/doc.json", "/openapi.json"])("serves the document at %s, with bearer authorization", async (path) => {
    const response = await get(path);
    expect(response.headers.get("content-type")).toMatch(/^application\/json/);
    const document = (await response.json()) as {
      openapi: string;
      paths: Record<string, unknown>;
      components: { securitySchemes: Record<string, { type: string; scheme: string }> };
      servers?: { url: string }[];
    };
    expect(document.openapi).toMatch(/^3\.1/);
    expect(document.paths).toHaveProperty(["/v1/chat/completions"]);
    expect(Object.values(document.components.securitySchemes)).toContainEqual(
      expect.objectContaining({ type: "http", scheme: "bearer" }),
    );
    // "Try it out" sends its requests to the origin of the page.
    for (const { url } of document.servers ?? []) expect(url).toMatch(/^\/$/);
  });

  test("serves its files from memory, compressed where accepted, and answers 304 to clients that have them", async () => {
    const path = "/swagger/swagger-ui-bundle.js";
    const ask = (headers: Record<string, string>) => fetch(`${gateway.url}${path}`, { headers });
    const plain = await ask({ "accept-encoding": "identity" });
    const zipped = await ask({ "accept-encoding": "br, gzip;q=0.8" });
    expect(plain.headers.get("content-encoding")).toBe(null);
    expect(zipped.headers.get("content-encoding")).toBe("gzip");
    expect(Number(zipped.headers.get("content-length"))).toBeLessThan(Number(plain.headers.get("content-length")) / 2);
    const text = await plain.text();
    expect(text.length).toBeGreaterThan(1_000_000);
    expect(await zipped.text()).toBe(text);
    const tags = [plain, zipped].map(({ headers }) => headers.get("etag") ?? "");
    expect(new Set(tags).size).toBe(2);
    const known = await ask({ "accept-encoding": "gzip", "if-none-match": `"other", W/${tags[1]}` });
    expect([known.status, await known.text(), known.headers.get("etag")]).toEqual([304, "", tags[1]]);
    expect((await ask({ "accept-encoding": "gzip;q=0", "if-none-match": '"other"' })).headers.get("content-encoding")).toBe(null);
    const head = await fetch(`${gateway.url}${path}`, { method: "HEAD", headers: { "accept-encoding": "identity" } });
    expect([head.status, head.headers.get("content-length")]).toEqual([200, plain.headers.get("content-length")]);
  });

  test("lets its page run only its own files and forbids framing", async () => {
    const policy = (await get("/swagger/index.html")).headers.get("content-security-policy")?.split("; ");
    expect(policy).toEqual(expect.arrayContaining(["default-src 'none'", "script-src 'self'", "frame-ancestors 'none'"]));
    expect(policy?.join()).not.toMatch(/unsafe/);
  });

  test("show an unexpected failure in the words of the server", () => {
    const shown = openapi.components.responses.InternalError.content["application/json"].examples.INTERNAL_ERROR.value;
    expect(restError(new Error("a secret")).body).toEqual(shown);
  });

  test.each(["/swagger/package.json", "/swagger/absolute-path.js", "/swagger/..%2f..%2fpackage.json"])(
    "does not serve %s",
    async (path) => {
      expect((await get(path)).status).toBe(404);
    },
  );
});
