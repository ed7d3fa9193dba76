/**
 * Runs a gateway alone, in front of services that answer on demand, and reports its memory and descriptors to its
 * parent.
 */
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import type { ServiceImpl } from "@connectrpc/connect";
import { mount } from "@turnwright/platform/rpc/mount";
import { startFixture } from "../../gateway/testing/gateway.ts";
import { compileLibrary } from "../../gateway/testing/library.ts";

/** Resources that a process holds. */
export interface Holdings {
  /** Bytes of objects, buffers and strings in use. */
  readonly held: number;
  /** Bytes counted by the kernel, including garbage and unused pages. */
  readonly resident: number;
  /** Peak bytes counted by the kernel since the last call; 0 if unknown. */
  readonly peak: number;
  /** Open descriptors; 0 if unknown. */
  readonly descriptors: number;
  /** Lines logged so far, one per finished request. */
  readonly logged: number;
}

setFlagsFromString("--expose-gc");
const collectGarbage = runInNewContext("gc") as () => void;

function descriptors(): number {
  return process.platform === "linux" ? readdirSync("/proc/self/fd").length : 0;
}

/** Peak memory since the last call, in bytes. */
function peak(): number {
  if (process.platform !== "linux") return 0;
  const kib = /VmHWM:\s+(\d+) kB/.exec(readFileSync("/proc/self/status", "utf8"))?.[1];
  writeFileSync("/proc/self/clear_refs", "5");
  return Number(kib ?? 0) * 1_024;
}

async function holdings(): Promise<Holdings> {
  gateway.calls.length = 0;
  let held = Number.POSITIVE_INFINITY;
  let resident = Number.POSITIVE_INFINITY;
  // Buffers are freed some time after their owners.
  for (let round = 0; round < 3; round += 1) {
    collectGarbage();
    await delay(50);
    const usage = process.memoryUsage();
    held = Math.min(held, usage.heapUsed + usage.external);
    resident = Math.min(resident, usage.rss);
  }
  return { held, resident, peak: peak(), descriptors: descriptors(), logged };
}

const library = compileLibrary();
const answer = (word: string) => create(library.message("ReadResponse"), { word } as MessageInitShape<never>);
let answers = 0;
/** Text that differs on each call. */
const unique = (length: number) => `${++answers}${"x".repeat(length)}`;

const served = mount(library.service, {
  // A response of the requested number of characters.
  read: ({ text }: { text: string }) => answer(unique(Number(text))),
  async *streamRead({ text }: { text: string }) {
    for (;;) yield answer(unique(Number(text)));
  },
  async *watchShelf() {
    for (;;) yield answer(unique(16_384));
  },
} as unknown as ServiceImpl<typeof library.service>);

const gateway = await startFixture({
  mounts: [served],
  env: { RATE_LIMIT_ENABLED: "false", ...(JSON.parse(process.argv[2] ?? "{}") as Record<string, string>) },
});
// The fixture keeps its log for tests; here the log would outweigh everything else.
let logged = 0;
gateway.log.push = () => ++logged;
process.on("message", async () => process.send?.(await holdings()));
process.on("disconnect", () => process.exit());
process.send?.({ port: gateway.port, service: library.service.typeName });
