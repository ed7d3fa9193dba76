import type { Identity } from "@turnwright/contract/auth/v1/identity";
import { ErrorReason, fail } from "@turnwright/platform/errors";
import { allows } from "@turnwright/platform/identity";

/** What a new key may do. */
export interface KeyPolicy {
  readonly allowedTools: readonly string[];
  readonly allowedModels: readonly string[];
  readonly perMinute: number;
  readonly perDay: number;
}

const isUnlimited = (list: readonly string[]) => list.length === 0 || list.includes("*");

function subset(field: string, asked: readonly string[], own: readonly string[]): readonly string[] {
  if (isUnlimited(asked)) return isUnlimited(own) ? [] : own;
  const beyond = asked.find((name) => !allows(own, name));
  if (beyond !== undefined) {
    throw fail(ErrorReason.PERMISSION_DENIED, `${field}: ${JSON.stringify(beyond)} is more than your own credential allows.`, {
      param: field,
    });
  }
  return asked;
}

/** The policy of a key that a caller asks for: never more than the caller's own credential allows. Throws PERMISSION_DENIED. */
export function keyPolicy(
  caller: Identity,
  asked: {
    allowedTools: readonly string[];
    allowedModels: readonly string[];
    rateLimitPerMinute?: number;
    rateLimitPerDay?: number;
  },
): KeyPolicy {
  return {
    allowedTools: subset("allowed_tools", asked.allowedTools, caller.allowedTools),
    allowedModels: subset("allowed_models", asked.allowedModels, caller.allowedModels),
    perMinute: Math.min(asked.rateLimitPerMinute ?? caller.rateLimitPerMinute, caller.rateLimitPerMinute),
    perDay: Math.min(asked.rateLimitPerDay ?? caller.rateLimitPerDay, caller.rateLimitPerDay),
  };
}
