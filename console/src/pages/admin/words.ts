import type { AuditVerification, GetSystemResponse, Invite } from "../../api/types.ts";
import { countText, numberText } from "../../format/money.ts";

/** A verification in words: `1,204 entries, whole`, or the first broken entry. */
export function verificationText({ entries, broken_at, fault }: AuditVerification): string {
  if (broken_at === 0) return `${numberText(entries)} entries, whole`;
  return `Entry ${numberText(broken_at)} is broken: ${fault}. The ${numberText(entries)} entries before it are whole.`;
}

/** The state of an invite. */
export function inviteState({ used_at, revoked_at, expires_at }: Invite, now: Date): "open" | "used" | "revoked" | "expired" {
  if (used_at !== null) return "used";
  if (revoked_at !== null) return "revoked";
  return expires_at !== null && new Date(expires_at) <= now ? "expired" : "open";
}

/** The things that are not well, one sentence each. */
export function troublesOf({ parts, stores }: GetSystemResponse): string[] {
  const silent = parts.flatMap(({ name, status, replicas }) => {
    const quiet = replicas.filter(({ is_silent }) => is_silent).length;
    if (quiet > 0) return [`${name}: ${countText(quiet, "replica is", "replicas are")} silent.`];
    return status === "ready" ? [] : [`${name}: ${status}.`];
  });
  const away = stores.filter(({ status }) => status !== "ready").map(({ name, status }) => `${name}: ${status}.`);
  const breakers = parts
    .flatMap(({ replicas }) => replicas.flatMap(({ breakers: all }) => all))
    .filter(({ state }) => state !== "closed")
    .map(({ provider, model, state }) => `Model ${model} at ${provider}: breaker ${state}.`);
  return [...silent, ...away, ...new Set(breakers)];
}
