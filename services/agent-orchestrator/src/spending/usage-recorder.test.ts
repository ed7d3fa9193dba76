import type { Client } from "@connectrpc/connect";
import type { SpendService } from "@turnwright/contract/auth/v1/usage_service";
import { ErrorReason, fail } from "@turnwright/platform/errors";
import { createLogger } from "@turnwright/platform/logger";
import { expect, test } from "vitest";
import { UsageRecorder } from "./usage-recorder.ts";

/** A recorder whose sums auth takes unless `refuse` gives an error for a token. */
function recorderOf(refuse: (tokenId: string) => unknown) {
  const recorded: string[] = [];
  const calls: number[] = [];
  const spend = {
    async recordUsage({ records }: { records: { tokenId: string; requests: bigint }[] }) {
      calls.push(records.length);
      for (const { tokenId } of records) {
        const error = refuse(tokenId);
        if (error !== undefined) throw error;
      }
      recorded.push(...records.map(({ tokenId, requests }) => `${tokenId} ${requests}`));
      return {};
    },
  };
  const logger = createLogger({ service: "test", level: "silent" });
  return { recorder: new UsageRecorder({ spend: spend as unknown as Client<typeof SpendService>, logger }), recorded, calls };
}

const call = (tokenId: string, promptTokens = 10) => ({
  userId: "user",
  tokenId,
  model: "m",
  promptTokens,
  completionTokens: 2,
  costMicros: 0,
});

test("one sum that auth refuses does not hold up those of others", async () => {
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

test("counts that no message holds reject nowhere", async () => {
  const { recorder, recorded } = recorderOf(() => undefined);
  recorder.add(call("fraction", 12.5));
  recorder.add(call("nothing", Number.NaN));
  recorder.add(call("a"));
  await recorder.flush();
  await recorder.close();
  expect(recorded).toEqual(["a 1"]);
});

test("what auth cannot take now is recorded when it can, and what it never takes is given up", async () => {
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

test("two models of which one is named like a token and a model do not share a sum", async () => {
  const { recorder, recorded } = recorderOf(() => undefined);
  recorder.add({ ...call("a"), model: "b c" });
  recorder.add({ ...call("a b"), model: "c" });
  await recorder.close();
  expect(recorded.sort()).toEqual(["a 1", "a b 1"]);
});
