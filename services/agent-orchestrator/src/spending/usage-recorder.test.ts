import type { Client } from "@connectrpc/connect";
import type { SpendService } from "@turnwright/contract/auth/v1/usage_service";
import { ErrorReason, fail } from "@turnwright/platform/errors";
import { createLogger } from "@turnwright/platform/logger";
import { expect, test } from "vitest";
import { UsageRecorder } from "./usage-recorder.ts";

/** A recorder whose auth accepts every sum, unless `refuse` returns an error for its token. */
function recorderOf(refuse: (tokenId: string) => unknown, check: () => void = () => {}) {
  const recorded: string[] = [];
  const records: { promptTokens: bigint }[] = [];
  const calls: number[] = [];
  const spend = {
    recordUsage({ records: given }: { records: { tokenId: string; requests: bigint; promptTokens: bigint }[] }) {
      check();
      return record(given);
    },
  };
  const record = async (given: { tokenId: string; requests: bigint; promptTokens: bigint }[]) => {
    calls.push(given.length);
    for (const { tokenId } of given) {
      const error = refuse(tokenId);
      if (error !== undefined) throw error;
    }
    recorded.push(...given.map(({ tokenId, requests }) => `${tokenId} ${requests}`));
    records.push(...given);
    return {};
  };
  const logger = createLogger({ service: "test", level: "silent" });
  return {
    recorder: new UsageRecorder({ spend: spend as unknown as Client<typeof SpendService>, logger }),
    recorded,
    records,
    calls,
  };
}

const call = (tokenId: string, promptTokens = 10) => ({
  userId: "user",
  tokenId,
  model: "m",
  promptTokens,
  completionTokens: 2,
  costMicros: 0,
});

test("a sum that auth refuses does not hold up others", async () => {
  const { recorder, recorded } = recorderOf((id) =>
    id === "bad" ? fail(ErrorReason.INVALID_REQUEST, "records[1].prompt_tokens: must be at least 0") : undefined,
  );
  for (const id of ["a", "bad", "b", "c", "c"]) recorder.add(call(id));
  await recorder.flush();
  expect(recorded.sort()).toEqual(["a 1", "b 1", "c 2"]);
  recorder.add(call("d"));
  await recorder.close();
  expect(recorded).toContain("d 1");
});

test.each([
  ["a fraction", 12.5, 13n],
  ["no number", Number.NaN, 0n],
  ["a negative number", -100, 0n],
  ["no end", Number.POSITIVE_INFINITY, 1_000_000_000_000n],
  ["more than any sum holds", 1e300, 1_000_000_000_000n],
])("a count that is %s is corrected, and the call and those of others are recorded", async (_what, count, recordedAs) => {
  const { recorder, recorded, records } = recorderOf(() => undefined);
  recorder.add(call("odd", count));
  recorder.add(call("a"));
  await recorder.flush();
  await recorder.close();
  expect(recorded).toEqual(["odd 1", "a 1"]);
  expect(records[0]?.promptTokens).toBe(recordedAs);
});

test("sums stay within what a number holds exactly", async () => {
  const { recorder, records } = recorderOf(() => undefined);
  for (let calls = 0; calls < 10_000; calls += 1) recorder.add(call("a", 1e12));
  await recorder.close();
  expect(records[0]?.promptTokens).toBe(BigInt(Number.MAX_SAFE_INTEGER));
});

test("a spend service that throws instead of rejecting ends nothing", async () => {
  let isBroken = true;
  const { recorder, recorded } = recorderOf(
    () => undefined,
    () => {
      if (isBroken) throw new TypeError("broken");
    },
  );
  recorder.add(call("a"));
  await recorder.flush();
  isBroken = false;
  await recorder.close();
  expect(recorded).toEqual(["a 1"]);
});

test("a sum is recorded after an outage of auth, and one that auth never accepts is dropped", async () => {
  let isAway = true;
  const { recorder, recorded, calls } = recorderOf((id) => {
    if (isAway) return fail(ErrorReason.UNAVAILABLE, "auth is away");
    return id === "odd" ? fail(ErrorReason.INTERNAL, "unexpected") : undefined;
  });
  for (const id of ["a", "odd", "b", "a"]) recorder.add(call(id));
  for (let flushes = 0; flushes < 30; flushes++) await recorder.flush();
  expect(recorded).toEqual([]);
  isAway = false;
  for (let flushes = 0; flushes < 30; flushes++) await recorder.flush();
  expect(recorded.sort()).toEqual(["a 2", "b 1"]);
  const before = calls.length;
  await recorder.close();
  expect(calls.length).toBe(before);
});

test("a model named like a token and a model does not share a sum with another", async () => {
  const { recorder, recorded } = recorderOf(() => undefined);
  recorder.add({ ...call("a"), model: "b c" });
  recorder.add({ ...call("a b"), model: "c" });
  await recorder.close();
  expect(recorded.sort()).toEqual(["a 1", "a b 1"]);
});
