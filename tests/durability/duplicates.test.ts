import { getOption } from "@bufbuild/protobuf";
import { surface } from "@turnwright/contract/errors/v1/surface";
import { describe, expect, test } from "vitest";
import { services } from "../security/contract-services.ts";
import { creations } from "./creations.ts";
import { type DuplicateFigures, duplicateCreations, isOnce } from "./duplicates.ts";

describe("requests repeated under their Idempotency-Key", () => {
  test("have one effect and one response, over every surface and after kill -9 of every process", async () => {
    const all = await duplicateCreations({ shape: "all-in-one", duplicates: 6 });
    expect(all.filter((figures) => !isOnce(figures))).toEqual([]);
    expect(all.map(({ name }) => name)).toContain("api key over grpc");
    const [figures] = all as [DuplicateFigures];
    for (const wrong of [{ effects: 2 }, { distinct: 2 }, { otherRequest: "201" }, { failures: ["400"] }]) {
      expect(isOnce({ ...figures, ...wrong })).toBe(false);
    }
  }, 120_000);

  test("are tested for every method that takes a key", () => {
    // The streamed variant of a turn shares the key of the unary one; tests/e2e covers it.
    const unary = services.flatMap(({ methods }) => methods.filter(({ methodKind }) => methodKind === "unary"));
    const takers = unary.filter((method) => getOption(method, surface).idempotencyKey);
    const tried = new Set<unknown>(Object.values(creations).map(({ method }) => method));
    expect(takers.length).toBeGreaterThan(0);
    expect(takers.filter((method) => !tried.has(method)).map(({ name }) => name)).toEqual([]);
  });
});
