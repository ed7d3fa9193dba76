import type { RunStep } from "@turnwright/contract/conversation/v1/run_step";
import { type DraftStep, toRunStep } from "./draft-step.ts";
import { type StepApproval, type StepEntry, type StepMessage, type StepRun, wasQueued } from "./log-facts.ts";
import { approvalStatus, receiptStatus } from "./statuses.ts";
import { StepWorkers } from "./step-workers.ts";

/** A tool call that waits for a person. */
const notBegun = { status: "waiting", startedMs: undefined };

/** The state of a run between two entries of its log. `parked` covers all waits for a person or a pause. */
type Phase = "queued" | "think" | "act" | "parked" | "ended";

/** Makes the steps of one run from its log, entry by entry. */
class StepMaker {
  readonly steps: DraftStep[] = [];
  readonly #run: StepRun;
  readonly #approvals: readonly StepApproval[];
  /** The times at which the run was parked for approvals. */
  readonly #parkedMs: readonly number[];
  #phase: Phase;
  /** The earliest time at which the present phase can have begun. */
  #sinceMs: number;
  /** Tool calls of the present round without a result, by call id. */
  readonly #open = new Map<string, DraftStep>();
  /** Waits that have not ended: for a worker, a decision, a review, a pause. */
  #waits: DraftStep[] = [];
  readonly #workers = new StepWorkers();
  /** Tool calls that a person's decision has set going. They begin when a worker takes them. */
  readonly #resumed = new Set<DraftStep>();
  #modelAttempt = 1;
  #retries = 0;
  #takeovers = 0;
  #lastSeq = 0;

  constructor(run: StepRun, entries: readonly StepEntry[], approvals: readonly StepApproval[]) {
    this.#run = run;
    this.#approvals = approvals;
    this.#parkedMs = entries.flatMap(({ type, atMs }) => (type === "parked" ? [atMs] : []));
    const isQueued = wasQueued(run, entries);
    this.#sinceMs = run.createdMs;
    this.#phase = isQueued ? "queued" : "think";
    if (isQueued) this.#wait({ id: "queue-0", kind: "queue", firstSeq: 0 });
    else this.#route(0);
  }

  add(entry: StepEntry): void {
    const { seq, atMs } = entry;
    if (entry.type === "recovered") this.#interrupt(entry);
    if (["started", "retried", "resumed", "recovered"].includes(entry.type)) this.#workers.claim();
    if (entry.worker !== "") this.#workers.name(entry.worker);
    const told = this.#messages(entry);
    const failed = this.#apply(entry);
    const model = failed ?? told;
    if (model !== undefined && entry.spent !== undefined) Object.assign(model, entry.spent);
    this.#lastSeq = seq;
    this.#sinceMs = Math.max(this.#sinceMs, atMs);
  }

  /** Adds what goes on behind the last entry. */
  end(): void {
    const { status, owner } = this.#run;
    const seq = this.#lastSeq + 1;
    if (status === "queued" && (this.#phase === "think" || this.#phase === "act")) {
      this.#wait({ id: `queue-${seq}`, kind: "queue", firstSeq: seq });
      for (const step of this.#resumed) if (step.lastSeq === undefined) Object.assign(step, notBegun);
    }
    if (status !== "running") return;
    this.#workers.name(owner);
    if (this.#phase === "think") this.#model(seq, { status: "running" });
  }

  #push(step: DraftStep): DraftStep {
    this.steps.push(step);
    if (step.kind === "model" || step.kind === "tool" || step.kind === "takeover") this.#workers.add(step);
    return step;
  }

  #wait(step: Omit<DraftStep, "status"> & { status?: string }): void {
    this.#waits.push(this.#push({ status: "waiting", startedMs: this.#sinceMs, ...step }));
  }

  /** Ends all waits. An approval has the end of its decision. */
  #endWaits({ seq, atMs }: StepEntry, status: string): void {
    for (const wait of this.#waits) {
      wait.lastSeq = seq;
      wait.endedMs ??= atMs;
      if (wait.status === "waiting") wait.status = status;
    }
    this.#waits = [];
  }

  #route(seq: number): void {
    const at = { startedMs: this.#sinceMs, endedMs: this.#sinceMs, firstSeq: seq, lastSeq: seq };
    this.#push({ id: "router", kind: "router", node: "router", name: this.#run.agent, status: "completed", ...at });
  }

  #model(seq: number, rest: Partial<DraftStep> & { status: string }): DraftStep {
    const { model } = this.#run;
    const step = { id: `model-${seq}`, kind: "model", node: "think", name: model, model, startedMs: this.#sinceMs };
    return this.#push({ ...step, attempt: this.#modelAttempt, firstSeq: seq, ...rest });
  }

  /** A model call that ended with this entry and has no message in it. */
  #failedModel({ seq, atMs, error, reason }: StepEntry, rest: Partial<DraftStep> & { status: string }): DraftStep {
    const failed = this.#model(seq, { endedMs: atMs, lastSeq: seq, error, reason, ...rest });
    this.#modelAttempt += 1;
    return failed;
  }

  /** Adds the messages of an entry; gives the model call among them. */
  #messages(entry: StepEntry): DraftStep | undefined {
    let model: DraftStep | undefined;
    const ended: DraftStep[] = [];
    for (const message of entry.messages) {
      if (message.role === "tool") ended.push(...this.#result(entry, message));
      else if (message.role === "assistant") model = this.#answer(entry, message, ended);
    }
    return model;
  }

  #result({ seq, outcomes }: StepEntry, { callId, latencyMs, atMs }: StepMessage): DraftStep[] {
    const step = this.#open.get(callId);
    if (step === undefined) return [];
    this.#open.delete(callId);
    step.status = outcomes.get(callId) ?? "completed";
    step.lastSeq = seq;
    // A call that a person has settled ended when its outcome became unknown.
    if (step.endedMs === undefined) {
      const begun = latencyMs > 0 ? atMs - latencyMs : (step.startedMs ?? atMs);
      step.startedMs = Math.max(begun, Math.min(step.startedMs ?? begun, atMs));
      step.endedMs = atMs;
    }
    if (this.#open.size > 0 || this.#phase !== "act") return [step];
    this.#phase = "think";
    this.#sinceMs = Math.max(this.#sinceMs, step.endedMs);
    return [step];
  }

  #answer({ seq, atMs }: StepEntry, message: StepMessage, ended: readonly DraftStep[]): DraftStep {
    const endedMs = Math.min(message.atMs, atMs);
    // Earlier releases stored results with the time of the next answer.
    const startedMs = Math.min(Math.max(endedMs - message.latencyMs, this.#floorBefore(ended)), endedMs);
    for (const tool of ended) {
      tool.endedMs = Math.min(tool.endedMs ?? startedMs, startedMs);
      tool.startedMs = Math.min(tool.startedMs ?? startedMs, tool.endedMs);
    }
    const { model, promptTokens, completionTokens } = message;
    const times = { startedMs, endedMs, lastSeq: seq };
    const step = this.#model(seq, { status: "completed", ...times, name: model, model, promptTokens, completionTokens });
    this.#modelAttempt = 1;
    this.#retries = 0;
    this.#takeovers = 0;
    this.#open.clear();
    for (const [index, { id: callId, name }] of message.calls.entries()) {
      const id = `tool-${seq}-${index + 1}`;
      const tool = { id, kind: "tool", node: "act", name, callId, parentId: step.id, status: "running", firstSeq: seq };
      this.#open.set(callId, this.#push(tool));
    }
    this.#phase = this.#open.size > 0 ? "act" : "ended";
    return step;
  }

  /** The earliest begin of a model call whose entry also ends these tool calls. */
  #floorBefore(ended: readonly DraftStep[]): number {
    const starts = ended.map(({ startedMs = 0 }) => startedMs);
    return starts.length === 0 ? this.#sinceMs : Math.max(...starts);
  }

  /** The effect of the entry itself; gives the model call that failed with it. */
  #apply(entry: StepEntry): DraftStep | undefined {
    const { seq, atMs } = entry;
    switch (entry.type) {
      case "started":
        this.#endWaits(entry, "completed");
        this.#sinceMs = atMs;
        this.#route(seq);
        this.#phase = "think";
        return undefined;
      case "retried":
        // Without a pause before it, the run waited for a worker.
        if (this.#waits.length === 0) this.#wait({ id: `queue-${seq}`, kind: "queue", firstSeq: seq });
        this.#endWaits(entry, "completed");
        this.#goOn(atMs);
        return undefined;
      case "resumed":
        this.#endWaits(entry, "completed");
        this.#goOn(atMs);
        return undefined;
      case "recovered":
        this.#takeovers += 1;
        this.#push({ id: `takeover-${seq}`, kind: "takeover", status: "completed", attempt: this.#takeovers, ...point(entry) });
        return undefined;
      case "model_attempt":
        return this.#failedModel(entry, { status: "failed", provider: entry.provider, name: entry.model, model: entry.model });
      case "retrying":
        return this.#pause(entry);
      case "tool_intent":
        for (const step of this.#open.values()) step.startedMs = atMs;
        return undefined;
      case "parked":
        this.#park(entry);
        return undefined;
      case "needs_review":
        this.#review(entry);
        return undefined;
      case "failed":
        return this.#close(entry, "failed");
      case "cancelled":
        return this.#close(entry, "cancelled");
      default:
        return undefined;
    }
  }

  #interrupt(entry: StepEntry): void {
    if (this.#phase === "think") this.#failedModel(entry, { status: "interrupted" });
  }

  #goOn(atMs: number): void {
    this.#phase = this.#open.size > 0 ? "act" : "think";
    for (const step of this.#open.values()) {
      if (step.status !== "waiting" && !this.#resumed.has(step)) continue;
      this.#resumed.add(step);
      step.status = "running";
      step.startedMs = atMs;
      this.#workers.add(step);
    }
  }

  #pause(entry: StepEntry): DraftStep | undefined {
    const { seq, atMs, inMs, error, reason } = entry;
    const failed = this.#phase === "think" ? this.#failedModel(entry, { status: "failed" }) : undefined;
    this.#retries += 1;
    this.#phase = "parked";
    const pause = { startedMs: atMs, wakeMs: atMs + inMs, attempt: this.#retries, error, reason };
    this.#wait({ id: `retry-${seq}`, kind: "retry", node: failed === undefined ? "act" : "think", firstSeq: seq, ...pause });
    return failed;
  }

  #park({ seq, atMs }: StepEntry): void {
    this.#phase = "parked";
    for (const step of this.#open.values()) Object.assign(step, notBegun);
    // The entry and its approvals are of one transaction and have one time. Fresh ones of changed tools come later.
    const untilMs = this.#parkedMs.find((ms) => ms > atMs) ?? Number.POSITIVE_INFINITY;
    for (const approval of this.#approvals) {
      if (approval.createdMs < atMs || approval.createdMs >= untilMs) continue;
      const { id, callId, toolName, createdMs: startedMs, endedMs } = approval;
      const parentId = this.#open.get(callId)?.id;
      const facts = { approvalId: id, callId, parentId, name: toolName, node: "approve", startedMs, endedMs };
      this.#wait({ id: `approval-${id}`, kind: "approval", firstSeq: seq, status: approvalStatus(approval), ...facts });
    }
  }

  #review({ seq, atMs, calls }: StepEntry): void {
    this.#phase = "parked";
    for (const [index, { id: callId, name }] of calls.entries()) {
      const tool = this.#open.get(callId);
      if (tool !== undefined) Object.assign(tool, { status: "unknown", endedMs: atMs, lastSeq: seq });
      const facts = { parentId: tool?.id, callId, name, node: "act", startedMs: atMs };
      this.#wait({ id: `review-${seq}-${index + 1}`, kind: "review", firstSeq: seq, ...facts });
    }
  }

  /** The run has ended before its answer. */
  #close(entry: StepEntry, status: "failed" | "cancelled"): DraftStep | undefined {
    const { seq, atMs } = entry;
    const error = entry.error || (status === "failed" ? this.#run.error : "");
    const model = this.#phase === "think" ? this.#failedModel({ ...entry, error }, { status }) : undefined;
    for (const [callId, step] of this.#open) {
      if (step.status === "unknown") continue;
      step.status = step.status === "waiting" ? "cancelled" : receiptStatus(this.#run.receipts.get(callId));
      step.endedMs = atMs;
      step.lastSeq = seq;
    }
    const isQueued = this.#phase === "queued";
    for (const wait of isQueued ? this.#waits : []) Object.assign(wait, { error, reason: entry.reason });
    this.#endWaits(entry, isQueued ? status : "cancelled");
    this.#phase = "ended";
    return model;
  }
}

/** A step without duration. */
function point({ seq, atMs }: StepEntry): Pick<DraftStep, "startedMs" | "endedMs" | "firstSeq" | "lastSeq"> {
  return { startedMs: atMs, endedMs: atMs, firstSeq: seq, lastSeq: seq };
}

/** The steps of a run, in the order of its log. */
export function stepsOf(run: StepRun, entries: readonly StepEntry[], approvals: readonly StepApproval[]): RunStep[] {
  const maker = new StepMaker(run, entries, approvals);
  for (const entry of entries) maker.add(entry);
  maker.end();
  return maker.steps.map(toRunStep);
}
