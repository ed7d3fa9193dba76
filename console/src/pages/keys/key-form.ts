import type { ApiKey, Operations } from "../../api/types.ts";
import type { Faults } from "../../ui/refusal.ts";

/** A key's policy as a person types it. */
export interface KeyDraft {
  readonly name: string;
  /** Undefined: all. */
  readonly models: readonly string[] | undefined;
  readonly tools: readonly string[] | undefined;
  readonly mayApprove: boolean;
  readonly perMinute: string;
  readonly perDay: string;
  readonly atOnce: string;
  readonly ceiling: string;
  /** Days from now; empty: never; `keep`: as it is. */
  readonly expires: string;
}

type CreateBody = Operations["POST /v1/api-keys"]["body"];
type UpdateBody = Operations["PATCH /v1/api-keys/{api_key_id}"]["body"];

/** An empty form. */
export const emptyDraft: KeyDraft = {
  name: "",
  models: undefined,
  tools: undefined,
  mayApprove: false,
  perMinute: "",
  perDay: "",
  atOnce: "",
  ceiling: "",
  expires: "90",
};

const listOf = (names: readonly string[]) => (names.length === 0 || names.includes("*") ? undefined : names);
const textOf = (limit: number) => (limit === 0 ? "" : String(limit));

/** The form of a key as it is. */
export function draftOf(key: ApiKey): KeyDraft {
  return {
    name: key.name,
    models: listOf(key.allowed_models),
    tools: listOf(key.allowed_tools),
    mayApprove: key.may_approve,
    perMinute: textOf(key.rate_limit_per_minute),
    perDay: textOf(key.rate_limit_per_day),
    atOnce: textOf(key.max_concurrent),
    ceiling: key.spend_limit_usd === null ? "" : String(key.spend_limit_usd),
    expires: "keep",
  };
}

const numberOf = (text: string): number | undefined => (text.trim() === "" ? undefined : Number(text));

/** The faults that need no server to see. */
export function faultsOf(draft: KeyDraft): Faults {
  const faults: Record<string, string> = {};
  if (draft.name.trim() === "") faults.name = "Give the key a name.";
  if (draft.models?.length === 0) faults.allowed_models = "Add a model, or choose all.";
  if (draft.tools?.length === 0) faults.allowed_tools = "Add a tool, or choose all.";
  const whole = { rate_limit_per_minute: draft.perMinute, rate_limit_per_day: draft.perDay, max_concurrent: draft.atOnce };
  for (const [field, text] of Object.entries(whole)) {
    const value = numberOf(text);
    if (value !== undefined && !(Number.isInteger(value) && value > 0)) faults[field] = "A whole number above 0, or nothing.";
  }
  const ceiling = numberOf(draft.ceiling);
  if (ceiling !== undefined && !(ceiling > 0)) faults.spend_limit_usd = "An amount above 0, or nothing.";
  return faults;
}

const endIn = (days: string, now: Date) => new Date(now.getTime() + Number(days) * 86_400_000).toISOString();

/** The request that creates a key. */
export function createBody(draft: KeyDraft, now: Date): CreateBody {
  return {
    name: draft.name.trim(),
    allowed_models: draft.models ?? [],
    allowed_tools: draft.tools ?? [],
    may_approve: draft.mayApprove,
    rate_limit_per_minute: numberOf(draft.perMinute),
    rate_limit_per_day: numberOf(draft.perDay),
    max_concurrent: numberOf(draft.atOnce),
    spend_limit_usd: numberOf(draft.ceiling),
    expires_at: draft.expires === "" ? undefined : endIn(draft.expires, now),
  };
}

/** The request that changes a key: the fields that differ from what it was. */
export function updateBody(before: KeyDraft, draft: KeyDraft, now: Date): UpdateBody {
  const isSame = (field: keyof KeyDraft) => JSON.stringify(before[field]) === JSON.stringify(draft[field]);
  return {
    ...(isSame("name") ? {} : { name: draft.name.trim() }),
    ...(isSame("models") ? {} : { allowed_models: draft.models ?? ["*"] }),
    ...(isSame("tools") ? {} : { allowed_tools: draft.tools ?? ["*"] }),
    ...(isSame("mayApprove") ? {} : { may_approve: draft.mayApprove }),
    ...(isSame("perMinute") || draft.perMinute === "" ? {} : { rate_limit_per_minute: numberOf(draft.perMinute) }),
    ...(isSame("perDay") || draft.perDay === "" ? {} : { rate_limit_per_day: numberOf(draft.perDay) }),
    ...(isSame("atOnce") || draft.atOnce === "" ? {} : { max_concurrent: numberOf(draft.atOnce) }),
    ...(isSame("ceiling") ? {} : { spend_limit_usd: numberOf(draft.ceiling) ?? 0 }),
    ...(draft.expires === "keep"
      ? {}
      : draft.expires === ""
        ? { never_expires: true }
        : { expires_at: endIn(draft.expires, now) }),
  };
}

/** The abilities of a key with this policy, as a sentence. */
export function abilityText(draft: KeyDraft): string {
  const part = (names: readonly string[] | undefined, all: string, noun: string) =>
    names === undefined ? all : names.length === 1 ? `1 ${noun}` : `${names.length} ${noun}s`;
  const money = numberOf(draft.ceiling);
  const spend = money === undefined ? "spend up to your own ceilings" : `spend US$${money.toFixed(2)}`;
  const models = part(draft.models, "all your models", "model");
  const tools = part(draft.tools, "all your tools", "tool");
  return `This key can: chat with ${models}, use ${tools}, ${spend}${draft.mayApprove ? ", decide on calls of its own runs" : ""}.`;
}

/** A first command for a new key. */
export function curlFor(model: string): string {
  const body = JSON.stringify({ model, messages: [{ role: "user", content: "Hello" }] });
  return [
    `curl ${location.origin}/v1/chat/completions`,
    `  -H "Authorization: Bearer $TURNWRIGHT_KEY"`,
    `  -H "Content-Type: application/json"`,
    `  -d '${body.replaceAll("'", "'\\''")}'`,
  ].join(" \\\n");
}
