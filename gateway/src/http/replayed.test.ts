import type { HandlerContext, ServiceImpl } from "@connectrpc/connect";
import { mount } from "@turnwright/platform/rpc/mount";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Fixture, startFixture } from "../../testing/gateway.ts";
import { compileLibrary } from "../../testing/library.ts";

const library = compileLibrary();
const served = mount(library.service, {
  putBook({ force, book }: { force: boolean; book: object }, context: HandlerContext) {
    if (force) context.responseHeader.set("idempotent-replayed", "true");
    return { book };
  },
} as unknown as ServiceImpl<typeof library.service>);

let gateway: Fixture;
beforeAll(async () => {
  gateway = await startFixture({ mounts: [served] });
});
afterAll(() => gateway.close());

const put = (query: string, headers: Record<string, string>) =>
  gateway.fetch(`/v1/shelves/one/books/1${query}`, {
    method: "PUT",
    headers: { "content-type": "application/json", ...headers },
    body: "{}",
  });

describe("a REST response", () => {
  test("tells a client that sent an idempotency key that it was replayed", async () => {
    expect((await put("?force=true", { "idempotency-key": "k" })).headers.get("idempotent-replayed")).toBe("true");
    expect((await put("", { "idempotency-key": "k" })).headers.has("idempotent-replayed")).toBe(false);
    expect((await put("?force=true", {})).headers.has("idempotent-replayed")).toBe(false);
  });
});
