import { createHash } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Fixture, startFixture } from "../testing/gateway.ts";

let gateway: Fixture;
beforeAll(async () => {
  gateway = await startFixture();
});
afterAll(() => gateway.close());

const get = (accept: string, init: RequestInit = {}) => fetch(`${gateway.url}/`, { headers: { accept }, ...init });

describe("the root of the server", () => {
  test.each([
    "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8",
    "text/html",
    "TEXT/HTML; q=0.9, application/json;q=0.5",
  ])("is a page for a browser that accepts %s", async (accept) => {
    const response = await get(accept);
    expect(response.status).toBe(200);
    expect(response.headers.get("content-type")).toBe("text/html; charset=utf-8");
    expect(response.headers.get("vary")).toMatch(/\baccept\b/);
    const html = await response.text();
    for (const [, path = ""] of html.matchAll(/href="([^"]+)"/g)) {
      const { status } = await fetch(`${gateway.url}${path}`);
      expect([path, status < 400 || path === "/ready"]).toEqual([path, true]);
    }
  });

  test("allows no script, no frame, no form and only its own style", async () => {
    const response = await get("text/html");
    const html = await response.text();
    const policy = response.headers.get("content-security-policy") ?? "";
    const style = /<style>(.*?)<\/style>/s.exec(html)?.[1] ?? "";
    expect(policy).toContain("default-src 'none'");
    expect(policy).toContain(`style-src 'sha256-${createHash("sha256").update(style).digest("base64")}'`);
    expect(policy).toContain("frame-ancestors 'none'");
    expect(policy).not.toMatch(/script-src|unsafe|\*/);
    expect(html).not.toMatch(/<script|\son\w+=|\sstyle=|javascript:|https?:/i);
    expect(response.headers.get("x-content-type-options")).toBe("nosniff");
  });

  test.each(["*/*", "application/json", "", "application/json, text/html;q=0.5", "text/html;q=0", "text/plain"])(
    "is JSON for a client that accepts %j",
    async (accept) => {
      const response = await get(accept);
      expect(response.status).toBe(404);
      expect(await response.json()).toMatchObject({ success: false, error: { message: expect.any(String) } });
    },
  );

  test("answers HEAD with the page's headers", async () => {
    const response = await get("text/html", { method: "HEAD" });
    expect(response.status).toBe(200);
    expect(await response.text()).toBe("");
  });
});
