import { type Cell, fallbackText } from "./cell.ts";
import { type FaultStage, silenceMs } from "./fault-stage.ts";

/** How often each value occurs, as `200 × 3, 502 × 1`. */
export function tally(values: readonly (string | number)[]): string {
  const counts = new Map<string | number, number>();
  for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1);
  return [...counts]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([value, count]) => `${value} × ${count}`)
    .join(", ");
}

/** A share of sorted numbers, as p50 of 0.5; 0 of none. */
export function quantile(numbers: readonly number[], share: number): number {
  const sorted = [...numbers].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0;
}

/** The figures of a cell and the bounds that it breaks. */
export interface Verdict {
  readonly figures: string;
  readonly breaches: readonly string[];
}

/** Retries per call that the rules allow. */
const maxTries = 3;

function triesOf(stage: FaultStage, cell: Cell): number[] {
  return cell.sent.map(({ message }) => stage.requests.about(message).length);
}

/** The shortest pause between two tries of a message, in milliseconds. */
function shortestPause(stage: FaultStage, cell: Cell): number {
  const pauses = cell.sent.flatMap(({ message }) => {
    const tries = stage.requests.about(message);
    return tries.slice(1).map(({ at }, index) => at - (tries[index]?.at ?? 0));
  });
  return Math.min(...pauses);
}

/** Requests about which the last request has not exactly one tool result that is an error. */
function fedBackOtherwise(stage: FaultStage, cell: Cell): number {
  return cell.sent.filter(({ message }) => {
    const messages = stage.requests.about(message).at(-1)?.body.messages ?? [];
    return messages.filter(({ role, content }) => role === "tool" && String(content).includes("error")).length !== 1;
  }).length;
}

/** Compares a cell with its bounds. `isFallenBack`: each model has a fallback that answers. */
export function judge(stage: FaultStage, cell: Cell, isFallenBack: boolean): Verdict {
  const { fault, surface, sent, usage, runs } = cell;
  const breaches: string[] = [];
  const must = (isKept: boolean, breach: string) => void (isKept || breaches.push(breach));
  const outcomes = sent.flatMap(({ outcome }) => outcome ?? []);
  const failed = outcomes.filter(({ isWhole }) => !isWhole);
  const whole = outcomes.filter(({ isWhole }) => isWhole);
  /** The OpenAI surface has shown text of a model that failed: no other model may go on. */
  const endsLate = fault.name === "cut stream" && surface === "stream";
  const isAnswered = fault.text !== undefined || (isFallenBack && !endsLate);
  const expected = fault.text ?? (isFallenBack ? fallbackText : "");
  const isRight = (text: string) =>
    fault.calls === undefined ? text === expected : text.startsWith(expected) && text.includes('"result":5');
  const truncated =
    whole.filter(({ text }) => !isAnswered || !isRight(text)).length +
    runs.answers.filter((text) => !isAnswered || !isRight(text)).length;
  const tries = triesOf(stage, cell);
  const pause = shortestPause(stage, cell);
  const left = (runs.byStatus.running ?? 0) + (runs.byStatus.queued ?? 0);
  const tokens = usage.prompt_tokens + usage.completion_tokens;

  must(cell.isServing, "the process ended");
  must(outcomes.length === sent.length, `${sent.length - outcomes.length} connections broke or hung`);
  must(truncated === 0, `${truncated} silent truncations`);
  must(left === 0, `${left} runs left running`);
  must(
    surface !== "stored" || Object.values(runs.byStatus).reduce((sum, count) => sum + count, 0) === sent.length,
    "runs are missing",
  );
  must(
    isAnswered ? failed.length === 0 : whole.length === 0,
    isAnswered ? `${failed.length} failed` : `${whole.length} answered`,
  );
  must(
    failed.every(({ error }) => error !== undefined && error.message !== ""),
    "an error without words",
  );
  must(Math.max(0, ...tries) <= (fault.calls ?? maxTries), `${Math.max(...tries)} tries`);
  if (fault.isLate) must(Math.max(0, ...tries) <= 1, "tried again after the first byte");
  if (fault.isLate && !isFallenBack) must(tokens > 0, "answers that broke off are not accounted");
  if (fault.retryAfterMs !== undefined) must(pause >= fault.retryAfterMs - 10, `tried again after ${pause.toFixed(0)} ms`);
  if (fault.name === "bad tool JSON") must(fedBackOtherwise(stage, cell) === 0, "not fed back exactly once");
  if (fault.name === "hang")
    must(
      quantile(
        failed.map(({ ms }) => ms),
        0.99,
      ) <=
        2 * silenceMs + 3_000,
      "hung for too long",
    );
  if (fault.text !== undefined && !isFallenBack)
    must(tokens === cell.toldTokens, `${tokens} tokens accounted, ${cell.toldTokens} told`);
  const taken = sent.filter(({ message }) => stage.taken.about(message).length > 0).length;
  if (isFallenBack && fault.text === undefined && !endsLate)
    must(taken === sent.length, `the fallback got ${taken} of ${sent.length}`);

  const slow = failed.map(({ ms }) => ms);
  const failure =
    slow.length === 0
      ? "no failure"
      : `failure after p50 ${quantile(slow, 0.5).toFixed(0)}, p99 ${quantile(slow, 0.99).toFixed(0)} ms`;
  const figures = [
    `status ${tally(outcomes.map(({ status }) => status))}`,
    `tries ${tally(tries)}${Number.isFinite(pause) ? `, ≥ ${pause.toFixed(0)} ms apart` : ""}`,
    ...(isFallenBack ? [`fallback ${taken}`] : []),
    failure,
    `${tokens} tokens accounted (${usage.estimated_tokens} estimated)`,
    ...(surface === "stored"
      ? [
          `runs ${Object.entries(runs.byStatus)
            .map(([status, count]) => `${status} × ${count}`)
            .join(", ")}`,
        ]
      : []),
    `silent truncations ${truncated}`,
    `runs left running ${left}`,
    `process ends ${cell.isServing ? 0 : 1}`,
  ].join("; ");
  return { figures, breaches };
}
