import { Client, credentials } from "@grpc/grpc-js";
import { afterEach, describe, expect, test } from "vitest";
import { testMounts } from "../../testing/plane.ts";
import { ErrorReason, reasonOf } from "../errors.ts";
import { createLogger } from "../logger.ts";
import { createHealthProbe } from "./grpc-health.ts";
import { type GrpcServer, startGrpcServer } from "./grpc-server.ts";

const logger = createLogger({ service: "test", level: "silent" });
const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

async function instance(details?: () => Record<string, unknown>): Promise<GrpcServer & { address: string }> {
  const place = { host: "127.0.0.1", port: 0 };
  const server = await startGrpcServer({ mounts: testMounts("one"), interceptors: [], ...place, logger, details });
  closers.push(() => server.close(0));
  return { ...server, address: `127.0.0.1:${server.port}` };
}

function probeOf(...addresses: string[]) {
  const probe = createHealthProbe({ addresses });
  closers.push(() => probe.close());
  return probe;
}

const reason = (check: Promise<unknown>) =>
  check.then(
    () => undefined,
    (error: unknown) => reasonOf(error),
  );

describe("the health of a service", () => {
  test("is that of its best instance, with the addresses of the failing ones", async () => {
    const [first, second] = [await instance(), await instance()];
    const probe = probeOf(first.address, second.address);
    expect(await probe.check()).toEqual({ serving: 2, failing: [] });
    second.setServing(false);
    expect(await probe.check()).toEqual({ serving: 1, failing: [second.address] });
    await second.close(0);
    expect(await probe.check()).toEqual({ serving: 1, failing: [second.address] });
    first.setServing(false);
    expect(await reason(probe.check())).toBe(ErrorReason.UNAVAILABLE);
    first.setServing(true);
    expect(await probe.check()).toEqual({ serving: 1, failing: [second.address] });
  });

  test("comes with the details of each instance that has some, and with none of those that fail to tell them", async () => {
    const broken = (): Record<string, unknown> => {
      throw new Error("no details");
    };
    const instances = [await instance(() => ({ waiting: 3 })), await instance(), await instance(broken)];
    const health = await probeOf(...instances.map(({ address }) => address)).check();
    expect(health).toEqual({ serving: 3, failing: [], details: { [instances[0]?.address ?? ""]: { waiting: 3 } } });
  });

  test("is that of its database when no instance gets an answer from it", async () => {
    const [first, second] = [await instance(), await instance()];
    const probe = probeOf(first.address, second.address);
    first.setServing(false, ErrorReason.DATABASE_UNAVAILABLE);
    expect(await probe.check()).toEqual({ serving: 1, failing: [first.address] });
    await second.close(0);
    expect(await reason(probe.check())).toBe(ErrorReason.DATABASE_UNAVAILABLE);
    first.setServing(false, ErrorReason.UNAVAILABLE);
    expect(await reason(probe.check())).toBe(ErrorReason.UNAVAILABLE);
  });

  test("can be found by a name, whose other addresses do not count as instances", async () => {
    const { port } = await instance();
    expect(await probeOf(`dns:///localhost:${port}`).check()).toEqual({ serving: 1, failing: [] });
    expect(await reason(probeOf("dns:///no-such-host.invalid:9104").check())).toBe(ErrorReason.UNAVAILABLE);
  });
});

test("reflection names the health service and has its files", async () => {
  const { address } = await instance();
  const client = new Client(address, credentials.createInsecure());
  closers.push(() => client.close());
  const same = (bytes: Buffer) => bytes;
  const ask = (field: number, text: string) =>
    new Promise<string>((resolve, reject) => {
      const path = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
      const call = client.makeBidiStreamRequest(path, same, same);
      call.on("data", (bytes: Buffer) => resolve(bytes.toString("latin1")));
      call.on("error", reject);
      call.end(Buffer.from([field * 8 + 2, text.length, ...Buffer.from(text)]));
    });
  expect(await ask(7, "")).toContain("grpc.health.v1.Health");
  expect(await ask(4, "grpc.health.v1.Health")).toContain("HealthCheckRequest");
});
