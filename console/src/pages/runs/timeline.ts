import type { RunStep } from "../../api/types.ts";

/** A stretch of time on the axis: as long as it is, or folded. */
export interface Stretch {
  readonly from: number;
  readonly to: number;
  readonly isFolded: boolean;
}

/** A bar: milliseconds since 1970. */
export interface Bar {
  readonly step: RunStep;
  readonly from: number;
  readonly to: number;
  /** 0 for steps of the run, 1 for those that belong to a step. */
  readonly depth: number;
}

/** The bars of a run and its axis. */
export interface Timeline {
  readonly bars: readonly Bar[];
  readonly stretches: readonly Stretch[];
  readonly totalMs: number;
}

/** Steps in which nothing happens but waiting, for a person or for a pause to end. */
const waiting: ReadonlySet<string> = new Set(["approval", "review", "retry"]);
/** Share of the whole above which a wait is folded. */
const foldedShare = 0.2;

const ms = (time: string | null) => (time === null ? undefined : new Date(time).getTime());

/** The stretches in which only waits are open. */
function quiet(bars: readonly Bar[], from: number, to: number): { from: number; to: number }[] {
  const busy = bars.filter(({ step }) => !waiting.has(step.kind)).sort((a, b) => a.from - b.from);
  const found: { from: number; to: number }[] = [];
  let end = from;
  for (const bar of busy) {
    if (bar.from > end) found.push({ from: end, to: bar.from });
    end = Math.max(end, bar.to);
  }
  if (to > end) found.push({ from: end, to });
  return found.filter((gap) => bars.some(({ step, from: a, to: b }) => waiting.has(step.kind) && a < gap.to && b > gap.from));
}

/** Lays the steps of a run out in time; open ones end now. */
export function timelineOf(steps: readonly RunStep[], now: Date): Timeline {
  const bars = steps
    .flatMap((step): Bar[] => {
      const from = ms(step.started_at);
      if (from === undefined) return [];
      return [{ step, from, to: Math.max(from, ms(step.ended_at) ?? now.getTime()), depth: step.parent_id === "" ? 0 : 1 }];
    })
    .sort((a, b) => a.from - b.from);
  const from = Math.min(...bars.map((bar) => bar.from));
  const to = Math.max(...bars.map((bar) => bar.to));
  if (bars.length === 0) return { bars, stretches: [], totalMs: 0 };
  const totalMs = to - from;
  const folds = quiet(bars, from, to).filter((gap) => gap.to - gap.from > totalMs * foldedShare && totalMs > 1_000);
  const stretches: Stretch[] = [];
  let at = from;
  for (const fold of folds) {
    if (fold.from > at) stretches.push({ from: at, to: fold.from, isFolded: false });
    stretches.push({ ...fold, isFolded: true });
    at = fold.to;
  }
  if (at < to || stretches.length === 0) stretches.push({ from: at, to, isFolded: false });
  return { bars, stretches, totalMs };
}

const foldedPx = 48;

/** The place of a time on an axis of this width, in pixels. */
export function placeOf(stretches: readonly Stretch[], time: number, width: number): number {
  const folded = stretches.filter(({ isFolded }) => isFolded).length * foldedPx;
  const open = stretches.filter(({ isFolded }) => !isFolded).reduce((sum, { from, to }) => sum + to - from, 0);
  const perMs = open > 0 ? Math.max(0, width - folded) / open : 0;
  let x = 0;
  for (const { from, to, isFolded } of stretches) {
    const length = isFolded ? foldedPx : (to - from) * perMs;
    if (time <= to) return x + (to === from ? 0 : (Math.max(0, time - from) / (to - from)) * length);
    x += length;
  }
  return x;
}

/** Milliseconds that a run spent with each kind of step. */
export function spentBy(
  steps: readonly RunStep[],
  now: Date,
): Readonly<Record<"people" | "model" | "tools" | "queue" | "pauses", number>> {
  const spent = { people: 0, model: 0, tools: 0, queue: 0, pauses: 0 };
  const names = { approval: "people", review: "people", model: "model", tool: "tools", queue: "queue", retry: "pauses" } as const;
  for (const { kind, started_at, ended_at } of steps) {
    const name = names[kind as keyof typeof names];
    const from = ms(started_at);
    if (name !== undefined && from !== undefined) spent[name] += Math.max(0, (ms(ended_at) ?? now.getTime()) - from);
  }
  return spent;
}
