import { surfaces } from "../endpoints/user.ts";
import { faults, inParallel, runCell } from "./cell.ts";
import { type FallbackModel, type FaultStage, type StartSystem, startFallbackStage, startFaultStage } from "./fault-stage.ts";
import { judge, type Verdict } from "./verdict.ts";

/** A judged cell of row R5. */
export interface JudgedCell extends Verdict {
  /** The fault, the surface, and whether a fallback is there. */
  readonly name: string;
}

/** Requests per cell, and how many at a time. */
export interface Counts {
  readonly count: number;
  readonly atOnce: number;
  /** Milliseconds before a cell's tokens are read. */
  readonly settleMs: number;
  /** Default 1. */
  readonly cellsAtOnce?: number;
}

/** Models of one name fail no more often than this, so that no breaker opens: each fault is met every time. */
const sharedBy = 4;

const modelNumber = (index: number) => Math.floor(index / sharedBy);

async function eachCell(
  stage: FaultStage,
  isFallenBack: boolean,
  counts: Counts,
  modelOf: (fault: number, surface: number, index: number) => string,
  onCell: (cell: JudgedCell) => void,
): Promise<void> {
  const cells = faults.flatMap((fault, f) => surfaces.map((surface, s) => ({ fault, f, surface, s })));
  const { cellsAtOnce = 1 } = counts;
  await inParallel(cells.length, cellsAtOnce, async (index) => {
    const { fault, f, surface, s } = cells[index] as (typeof cells)[number];
    const cell = await runCell(stage, fault, surface, { ...counts, modelOf: (request) => modelOf(f, s, request) });
    const verdict = judge(stage, cell, isFallenBack);
    onCell({ ...verdict, name: `${fault.name}, ${surface}${isFallenBack ? ", with a fallback" : ""}, ${counts.count}` });
    if (cellsAtOnce > 1) return;
    stage.requests.clear();
    stage.taken.clear();
  });
}

/** Each fault on each surface, without a fallback. */
export async function judgeAll(stage: FaultStage, counts: Counts, onCell: (cell: JudgedCell) => void): Promise<void> {
  const modelOf = (f: number, s: number, index: number) => `mock-${faults[f]?.modes}-id-${s * 100_000 + index}`;
  await eachCell(stage, false, counts, modelOf, onCell);
}

/** Row R5: each fault on each surface, without a fallback. */
export async function alone(start: StartSystem, counts: Counts, onCell: (cell: JudgedCell) => void): Promise<void> {
  const stage = await startFaultStage(start);
  try {
    await judgeAll(stage, counts, onCell);
  } finally {
    await stage.stop();
  }
}

/** Row R5: each fault on each surface, with a fallback that answers. */
export async function withFallback(start: StartSystem, counts: Counts, onCell: (cell: JudgedCell) => void): Promise<void> {
  const nameOf = (f: number, s: number, index: number) => `f${f}-${s}-${modelNumber(index)}`;
  const models: FallbackModel[] = faults.flatMap(({ modes }, f) =>
    surfaces.flatMap((_surface, s) =>
      Array.from({ length: modelNumber(counts.count - 1) + 1 }, (_, number) => ({
        name: nameOf(f, s, number * sharedBy),
        upstream: `mock-${modes}-id-${s * 100_000 + number}`,
      })),
    ),
  );
  const stage = await startFallbackStage(start, models);
  try {
    await eachCell(stage, true, counts, nameOf, onCell);
  } finally {
    await stage.stop();
  }
}
