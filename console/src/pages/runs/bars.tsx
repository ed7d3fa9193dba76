import { useState } from "preact/hooks";
import type { RunStep } from "../../api/types.ts";
import { costText, numberText } from "../../format/money.ts";
import { spanText } from "../../format/time.ts";
import { Button } from "../../ui/button.tsx";
import { minuteClock } from "../../ui/time.tsx";
import { type Bar, placeOf, type Timeline, timelineOf } from "./timeline.ts";

const width = 600;
const rowHeight = 24;
const drawnAtOnce = 500;

/** The words beside a bar. */
export function stepText({ kind, name, prompt_tokens, completion_tokens, cost_usd, status }: RunStep): string {
  const tokens =
    kind === "model" && prompt_tokens > 0 ? ` ${numberText(prompt_tokens)}→${numberText(completion_tokens)} tok` : "";
  const cost = cost_usd === null || cost_usd === 0 ? "" : ` ${costText(cost_usd)}`;
  const failed = ["failed", "interrupted", "unknown", "rejected", "expired"].includes(status) ? ` ${status}` : "";
  return `${kind} ${name}`.trim().slice(0, 60) + tokens + cost + failed;
}

/** The waits that the axis shows shorter than they were. */
function foldedText({ stretches }: Timeline): string {
  const folded = stretches.filter(({ isFolded }) => isFolded).map(({ from, to }) => `┊ ${spanText(to - from)} ┊`);
  return folded.length === 0 ? "" : `${folded.join(" ")} folded`;
}

function BarRow(props: {
  readonly bar: Bar;
  readonly timeline: Timeline;
  readonly isChosen: boolean;
  readonly onChoose: () => void;
}) {
  const { bar, timeline, isChosen, onChoose } = props;
  const { step, from, to, depth } = bar;
  const x = placeOf(timeline.stretches, from, width);
  const end = placeOf(timeline.stretches, to, width);
  return (
    <li>
      <button type="button" class={`bar-row${isChosen ? " bar-chosen" : ""}`} aria-pressed={isChosen} onClick={onChoose}>
        <span class={`bar-label depth-${depth}`}>
          <bdi>{stepText(step)}</bdi>
        </span>
        <svg class="bar" viewBox={`0 0 ${width} ${rowHeight}`} preserveAspectRatio="none" aria-hidden="true">
          <rect x={x} y="6" width={Math.max(3, end - x)} height="12" class={`bar-${step.kind} bar-is-${step.status}`} />
        </svg>
        <span class="bar-time">{step.ended_at === null ? `${spanText(to - from)}…` : spanText(to - from)}</span>
      </button>
    </li>
  );
}

/** The steps of a run in time: one row for each, in the order of their beginnings. */
export function Bars(props: {
  readonly steps: readonly RunStep[];
  readonly chosen: string;
  readonly onChoose: (id: string) => void;
}) {
  const { steps, chosen, onChoose } = props;
  const [drawn, setDrawn] = useState(drawnAtOnce);
  const timeline = timelineOf(steps, minuteClock.value > new Date() ? minuteClock.value : new Date());
  return (
    <div class="bars">
      <div class="bar-row">
        <span class="bar-label meta">0 s to {spanText(timeline.totalMs)}</span>
        <span class="meta">{foldedText(timeline)}</span>
        <span class="bar-time" />
      </div>
      <ol class="bar-list">
        {timeline.bars.slice(0, drawn).map((bar) => (
          <BarRow
            key={bar.step.id}
            bar={bar}
            timeline={timeline}
            isChosen={bar.step.id === chosen}
            onChoose={() => onChoose(bar.step.id)}
          />
        ))}
      </ol>
      {timeline.bars.length > drawn && <Button onClick={() => setDrawn(drawn + drawnAtOnce)}>Show {drawnAtOnce} more</Button>}
    </div>
  );
}
