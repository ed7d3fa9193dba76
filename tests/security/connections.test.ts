import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Attack, attacks, floods } from "./connection-attacks.ts";
import { type MeasuredGateway, startMeasuredGateway } from "./measured-gateway.ts";
import type { Holdings } from "./measured-gateway-process.ts";
import { RawHttp2 } from "./raw-http2.ts";

const kib = 1_024;
const mib = 1_048_576;
/** A session's limit, and as much again for its overhead. */
const maxOfSession = 24 * mib;
/** For a stalled reader (R7), and fluctuations that weigh more with few of them. */
const maxOfPipeline = 384 * kib;
const spareDescriptors = 3;

let gateway: MeasuredGateway;
beforeAll(async () => {
  gateway = await startMeasuredGateway();
}, 60_000);
afterAll(() => gateway?.stop());

/** Memory and descriptors held once all input is parsed as far as it will be. */
async function settledHoldings(): Promise<Holdings> {
  let last = await gateway.holdings();
  for (let round = 0; round < 20; round += 1) {
    const now = await gateway.holdings();
    if (now.logged === last.logged) return now;
    last = now;
  }
  return last;
}

async function costOf(attack: Attack, connections: number): Promise<{ held: number; descriptors: number; left: Holdings }> {
  const before = await gateway.holdings();
  const standing = await attack.perform(gateway, connections);
  const during = await settledHoldings();
  const { status } = await fetch(`http://127.0.0.1:${gateway.port}/health`, { headers: { connection: "close" } });
  expect(status).toBe(200);
  standing.end();
  const after = await settledHoldings();
  return {
    held: during.held - before.held,
    descriptors: during.descriptors - before.descriptors,
    left: { ...after, held: after.held - before.held, descriptors: after.descriptors - before.descriptors },
  };
}

/** Entries of a list by the ends of their names; `npm run security -- s15` measures all. */
const named = (list: readonly Attack[], ...ends: readonly string[]) =>
  ends.map((end) => [end, list.find(({ name }) => name.endsWith(end)) as Attack] as const);

describe("clients that never read", () => {
  test.each(named(attacks, "answers of 64 KiB", "server-sent events", "window 0: gRPC"))(
    "hold a bounded share of the gateway's memory and one descriptor each: %s",
    async (_name, attack) => {
      const { held, descriptors, left } = await costOf(attack, 2);
      expect(held).toBeLessThan(2 * maxOfSession);
      expect(descriptors).toBeLessThanOrEqual(2 + spareDescriptors);
      expect(left.held).toBeLessThan(8 * mib);
      expect(left.descriptors).toBeLessThanOrEqual(spareDescriptors);
    },
    30_000,
  );

  test("share one copy of a file", async () => {
    const [connections, streams] = [15, 20];
    const before = await gateway.holdings();
    const clients = await Promise.all(Array.from({ length: connections }, () => RawHttp2.open(gateway.port, 0)));
    for (const client of clients) {
      for (let i = 0; i < streams; i += 1) client.socket.write(client.request({ path: "/openapi.json" }));
      await client.settled();
    }
    expect(clients.map(({ refused }) => refused)).toEqual(clients.map(() => 0));
    const { held } = await gateway.holdings();
    for (const { socket } of clients) socket.destroy();
    // One copy for each would be more than 140 KiB.
    expect(held - before.held).toBeLessThan(connections * streams * 64 * kib);
  });

  test.each(named(attacks, "pipelined GET /openapi.json", "POST with bodies"))(
    "hold little by requests sent ahead: %s",
    async (_name, attack) => {
      const { held, descriptors, left } = await costOf(attack, 10);
      expect(held).toBeLessThan(10 * maxOfPipeline);
      expect(descriptors).toBeLessThanOrEqual(10 + spareDescriptors);
      expect(left.held).toBeLessThan(4 * mib);
      expect(left.descriptors).toBeLessThanOrEqual(spareDescriptors);
    },
    60_000,
  );

  test("leave nothing behind, however often they connect", async () => {
    const kinds = named(attacks, "window 0: openapi.json", "pipelined errors");
    const held: number[] = [];
    for (let round = 0; round < 4; round += 1) {
      for (const [, attack] of kinds) (await attack.perform(gateway, 4)).end();
      held.push((await settledHoldings()).held);
    }
    expect((held.at(-1) ?? 0) - (held[0] ?? 0)).toBeLessThan(2 * mib);
  }, 60_000);
});

describe("clients that send endless frames", () => {
  test.each(named(floods, "(CVE-2023-44487)", "empty DATA frames", "CONTINUATION frames", "unpack to 16 MB"))(
    "hold next to nothing, and other clients are served: %s",
    async (_name, attack) => {
      const { held, left } = await costOf(attack, 1);
      expect(held).toBeLessThan(maxOfSession);
      expect(left.held).toBeLessThan(4 * mib);
    },
    60_000,
  );
});
