import { createMemoryConcurrencyLimiter } from "@turnwright/platform/ports/concurrency-limiter-memory";
import type { RateBucket, RateLimiter } from "@turnwright/platform/ports/rate-limiter";
import { createMemoryRateLimiter } from "@turnwright/platform/ports/rate-limiter-memory";
import { afterEach, describe, expect, test } from "vitest";
import { createDiscoveryClient, type DiscoveryClient } from "../../testing/discovery-client.ts";
import { type Fixture, startFixture } from "../../testing/gateway.ts";
import { dial } from "../../testing/raw-connection.ts";
import { bodyOf, codeOf, headOf, rpcFormats } from "../../testing/rpc-requests.ts";
import { createLimits } from "../admission/limits.ts";
import { createServingStatus } from "./serving-status.ts";

let close = async () => {};
afterEach(async () => {
  await close();
  close = async () => {};
});

async function start(options: Omit<Parameters<typeof startFixture>[0], "mounts">): Promise<[Fixture, DiscoveryClient]> {
  const gateway = await startFixture({ ...options, mounts: [] });
  const client = createDiscoveryClient(`127.0.0.1:${gateway.port}`);
  close = async () => {
    client.close();
    await gateway.close();
  };
  return [gateway, client];
}

describe("requests without a credential to methods that only read", () => {
  const limitsOf = (addressPerMinute: number) =>
    createLimits({
      limiter: createMemoryRateLimiter({ now: () => 1_000_000 }),
      concurrency: createMemoryConcurrencyLimiter(),
      enabled: true,
      addressPerMinute,
    });
  const sink = { header() {} };
  /** The number of requests that an address may send at once, up to 2,000. */
  async function allowed(limits: ReturnType<typeof limitsOf>, address: string, kind: "check" | "read"): Promise<number> {
    for (let count = 0; count < 2_000; count += 1) {
      try {
        await limits.takeAddress(address, sink, kind);
      } catch {
        return count;
      }
    }
    return 2_000;
  }

  test("have a limit per address that a probe each second from ten load balancers stays below", async () => {
    const limits = limitsOf(20);
    expect(await allowed(limits, "192.0.2.1", "read")).toBe(600);
    expect(await allowed(limits, "192.0.2.2", "read")).toBe(600);
    // Logins have their own.
    expect(await allowed(limits, "192.0.2.1", "check")).toBe(20);
    expect(await allowed(limitsOf(1_000), "192.0.2.1", "read")).toBe(1_000);
    expect(await allowed(limitsOf(0), "192.0.2.1", "read")).toBe(2_000);
  });

  test("are counted on every way: health checks, watches, lists and open reflection", async () => {
    const asked: RateBucket[] = [];
    let isAllowed = true;
    const limiter: RateLimiter = {
      async take(buckets) {
        asked.push(...buckets);
        return { allowed: isAllowed, limit: 600, remaining: 0, resetSeconds: 1, retryAfterSeconds: 1 };
      },
    };
    const [gateway, client] = await start({ limiter, env: { SERVER_REFLECTION: "everyone" } });
    await client.check("");
    expect(asked).toEqual([{ key: "reads:127.0.0.1", perMinute: 600, perDay: 0 }]);
    isAllowed = false;
    await expect(client.check("")).rejects.toMatchObject({ code: 8 });
    expect(
      await client
        .watch("")
        .next()
        .catch((error) => error.code),
    ).toBe(8);
    await expect(client.reflect([{ case: "listServices", value: "*" }])).rejects.toMatchObject({ code: 8 });
    const listed = await fetch(`${gateway.url}/grpc.health.v1.Health/List`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: "{}",
    });
    expect(listed.status).toBe(429);
    expect(asked).toHaveLength(5);
  });
});

describe("watches of the health", () => {
  test("are bounded for each address, and give their places back", async () => {
    const status = createServingStatus(async () => ({}));
    const ending = new AbortController();
    const open = async (address: string, { signal } = ending) => {
      const watch = status.watch(signal, address);
      await watch.next();
      return watch;
    };
    const first = await open("192.0.2.1");
    for (let count = 1; count < 100; count += 1) await open("192.0.2.1");
    await expect(open("192.0.2.1")).rejects.toThrow("Too many clients");
    await open("192.0.2.2");
    await first.return(true);
    await open("192.0.2.1");
    await expect(open("192.0.2.1")).rejects.toThrow("Too many clients");
    // A home has several networks of one address each, and four times their number in all.
    for (let net = 0; net < 4; net += 1) {
      for (let count = 0; count < 100; count += 1) await open(`2001:db8:0:${net}::1`);
    }
    await expect(open("2001:db8:0:5::1")).rejects.toThrow("Too many clients");
    await open("2001:db8:0:100::1");
    ending.abort();
  });
});

describe("reflection over HTTP/1.1", () => {
  const path = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";

  test("says that it needs HTTP/2, in the form of each protocol", async () => {
    const [gateway] = await start({});
    for (const format of rpcFormats.filter(({ kind }) => kind !== "unary")) {
      const connection = await dial(gateway.port);
      const body = bodyOf(new Uint8Array(), format);
      connection.write(headOf(path, { "content-type": format.contentType, "content-length": body.byteLength }));
      connection.write(body);
      const answer = await connection.answer();
      if (answer === undefined) throw new Error(`no answer as ${format.contentType}`);
      expect([format.contentType, answer.status, codeOf(format, answer)]).toEqual([format.contentType, 200, "unimplemented"]);
      expect(JSON.stringify([answer.headers, answer.trailers, answer.body])).toMatch(/This method needs HTTP(\/|%2F)2/);
      expect(answer.headers.connection).toBe("close");
      connection.socket.destroy();
    }
  });

  test.each([
    ["GET", {}, 405, "METHOD_NOT_ALLOWED", "GET is not served here; use POST."],
    ["POST", { "content-type": "application/json" }, 415, "UNSUPPORTED_MEDIA_TYPE", "Send messages as application/connect+json"],
    ["POST", {}, 415, "UNSUPPORTED_MEDIA_TYPE", "Send messages as application/connect+json"],
  ])("answers a %s of %o that is no RPC with %i and a body", async (method, headers, status, code, message) => {
    const [gateway] = await start({});
    const answer = await fetch(gateway.url + path, {
      method,
      headers,
      ...(method === "POST" ? { body: Buffer.from("{}") } : {}),
    });
    expect(answer.status).toBe(status);
    expect(answer.headers.get("allow")).toBe(status === 405 ? "POST" : null);
    expect(await answer.json()).toMatchObject({ success: false, error: { code, message: expect.stringContaining(message) } });
  });

  test("and every other method answers a request that is no RPC likewise", async () => {
    const [gateway] = await start({});
    const url = `${gateway.url}/grpc.health.v1.Health/Check`;
    const put = await fetch(url, { method: "PUT", body: "x" });
    expect([put.status, put.headers.get("allow")]).toEqual([405, "POST"]);
    expect(await put.json()).toMatchObject({ error: { code: "METHOD_NOT_ALLOWED" } });
    const text = await fetch(url, { method: "POST", body: "x" });
    expect(text.status).toBe(415);
    expect(await text.json()).toMatchObject({ error: { code: "UNSUPPORTED_MEDIA_TYPE" } });
  });
});
