import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Fixture, startFixture } from "../fixtures/gateway.ts";

let gateway: Fixture;
beforeAll(async () => {
  gateway = await startFixture();
});
afterAll(() => gateway.close());

const get = (path: string) => fetch(`${gateway.url}${path}`, { redirect: "manual" });

describe("API docs", () => {
  it("serves Swagger UI with everything that the page asks for, from this server", async () => {
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

  it("needs no inline script, so that a strict content policy holds", async () => {
    const html = await (await get("/swagger/index.html")).text();
    expect(html).not.toMatch(/<script(?![^>]*\ssrc=)|\son\w+=|javascript:|<style/i);
  });

  it.each(["/swagger", "/swagger/", "/docs"])("leads from %s to the page", async (path) => {
    const response = await get(path);
    expect(response.status).toBe(302);
    expect(response.headers.get("location")).toBe("/swagger/index.html");
  });

  it.each(["/swagger/doc.json", "/openapi.json"])("serves the document at %s, with bearer authorization", async (path) => {
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
    // Requests of "Try it out" go to where the page came from.
    for (const { url } of document.servers ?? []) expect(url).toMatch(/^\/$/);
  });

  it.each(["/swagger/package.json", "/swagger/absolute-path.js", "/swagger/..%2f..%2fpackage.json"])(
    "does not serve %s",
    async (path) => {
      expect((await get(path)).status).toBe(404);
    },
  );
});
