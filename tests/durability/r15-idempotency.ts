/**
 * Row R15: 100 duplicates of a request under one Idempotency-Key have one effect and one response, and a different
 * request under the key is refused, over REST, Connect and gRPC, and after a kill -9 of every process: `node
 * tests/durability/r15-idempotency.ts --duplicates 100 --shape mesh`.
 */
import { parseArgs } from "node:util";
import { report } from "../security/long/stage.ts";
import { duplicateCreations, isOnce } from "./duplicates.ts";

const { values } = parseArgs({
  options: {
    duplicates: { type: "string", default: "100" },
    /** `all-in-one` or `mesh`. */
    shape: { type: "string", default: "mesh" },
  },
});
const shape = values.shape === "all-in-one" ? "all-in-one" : "mesh";
const all = await duplicateCreations({ shape, duplicates: Number(values.duplicates) });
for (const figures of all) {
  const { name, sent, distinct, first, effects, otherRequest, failures, sameAfterKill } = figures;
  report(
    "R15",
    isOnce(figures),
    `${shape}, ${name}: ${sent} duplicates, ${effects} effects, ${distinct} distinct responses, ${first} not marked as replayed, ` +
      `${failures.length} failures, a different request ${otherRequest}, ${sameAfterKill ? "the same" : "another"} after kill -9`,
  );
  for (const failure of new Set(failures)) console.log(`     ${failure}`);
}
