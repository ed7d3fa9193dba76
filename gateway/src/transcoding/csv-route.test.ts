import { UsageService } from "@turnwright/contract/auth/v1/usage_service";
import { mount } from "@turnwright/platform/rpc/mount";
import { afterAll, beforeAll, expect, test } from "vitest";
import { aliceKey, type Fixture, startFixture } from "../../testing/gateway.ts";

let gateway: Fixture;
beforeAll(async () => {
  const usage = mount(UsageService, {
    getUsage: () => ({ usage: [{ day: "2026-01-31", model: "=1+1", requests: 3n, keyName: "ci, old", priced: true }] }),
    listAllUsage: () => ({ usage: [], nextCursor: "next" }),
  });
  gateway = await startFixture({ mounts: [usage] });
});
afterAll(() => gateway.close());

test("a list that offers it comes as a table to a client that asks for one, and as JSON to all others", async () => {
  const authorization = `Bearer ${aliceKey}`;
  const table = await gateway.fetch("/v1/usage", { headers: { authorization, accept: "text/csv" } });
  expect(table.status).toBe(200);
  expect(table.headers.get("content-type")).toBe("text/csv; charset=utf-8");
  expect(table.headers.get("content-disposition")).toBe('attachment; filename="usage.csv"');
  expect(table.headers.get("vary")).toMatch(/\baccept\b/i);
  expect(table.headers.get("x-next-cursor")).toBeNull();
  const [, row] = (await table.text()).split("\r\n");
  expect(row).toBe(`2026-01-31,'=1+1,,3,0,0,0,0,"ci, old",true`);
  const json = await gateway.fetch("/v1/usage", { headers: { authorization, accept: "application/json, text/csv" } });
  expect(json.headers.get("vary")).toMatch(/\baccept\b/i);
  expect(await json.json()).toMatchObject({ success: true, data: { usage: [{ model: "=1+1" }] } });
  const refused = await gateway.fetch("/v1/usage?group_by=none", { headers: { authorization, accept: "text/csv" } });
  expect(refused.headers.get("content-type")).toMatch(/^application\/json/);
});
