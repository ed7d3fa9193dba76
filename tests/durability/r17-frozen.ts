/**
 * Row R17: SIGSTOP of one of two replicas of each part behind the gateway, under load. Prints a Markdown table:
 * `npm run durability -- r17`.
 *
 *   node tests/durability/r17-frozen.ts --seconds 60      time of each freeze
 *   node tests/durability/r17-frozen.ts --part conversation
 */
import { parseArgs } from "node:util";
import { report } from "../security/long/stage.ts";
import { failedStreams } from "./counted-stream.ts";
import { type FrozenReport, freezeUnderLoad, noticedMs } from "./frozen.ts";
import { onStores } from "./on-stores.ts";
import { startReplicatedMesh } from "./replicated-mesh.ts";

const { values } = parseArgs({ options: { seconds: { type: "string", default: "60" }, part: { type: "string" } } });
const all = ["auth", "conversation", "tool-executor", "agent-orchestrator"];
const parts = all.filter((part) => values.part === undefined || values.part === part);
/** Signs of life that are asked for are a few bytes each; a call has hundreds. */
const mostLateBytes = 4_096;

const reports: FrozenReport[] = [];
await onStores("frozen", async (stores) => {
  const mesh = await startReplicatedMesh({ ...stores, limit: "4s" });
  try {
    for (const part of parts) {
      const load = { unary: 6, streams: 2, longStreams: 0, longWords: 0 };
      reports.push(await freezeUnderLoad(mesh, { part, load, frozenMs: Number(values.seconds) * 1_000 }));
    }
  } finally {
    await mesh.stop();
  }
});

const row = (cells: readonly unknown[]) => console.log(`| ${cells.join(" | ")} |`);
row([
  "Part",
  "Calls",
  "Failed",
  "Streams ended",
  "Streams refused",
  "Streams resumed",
  "Streams with an error, answered",
  "Lost",
  `Longest call after ${noticedMs} ms`,
  "Bytes to the frozen one after that",
]);
row(Array.from({ length: 10 }, () => "---"));
for (const { part, counts, longestLateMs, lateCalls, lateBytes } of reports) {
  const { unary, failures, ended, handedOver, outlived, cut, resumed, refused, broken } = counts;
  const longest = `${Math.round(longestLateMs)} ms of ${lateCalls}`;
  row([
    part,
    unary,
    failures.length,
    ended,
    refused.length,
    resumed.length,
    `${handedOver + outlived} (+ ${cut} completions)`,
    broken.length,
    longest,
    lateBytes,
  ]);
  for (const text of new Set([...failures, ...refused, ...resumed, ...broken])) console.log(`      ${text}`);
}
const failedOf = ({ counts }: FrozenReport) => counts.failures.length + failedStreams(counts);
const callsOf = ({ counts }: FrozenReport) => counts.unary + counts.ended + failedStreams(counts);
const worst = Math.max(...reports.map((one) => failedOf(one) / callsOf(one)));
const lost = reports.reduce((sum, { counts }) => sum + counts.broken.length, 0);
const bytes = Math.max(...reports.map(({ lateBytes }) => lateBytes));
report("R17", worst <= 0.01, `${(worst * 100).toFixed(2)} % of the calls failed at most, limit 1 %`);
report("R17", lost === 0, `${lost} lost`);
const reached = `${bytes} bytes reached a frozen replica later than ${noticedMs} ms after the freeze`;
report("R17", bytes <= mostLateBytes, `${reached}, limit ${mostLateBytes}`);
