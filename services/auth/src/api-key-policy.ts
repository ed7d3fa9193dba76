import { timestampDate } from "@bufbuild/protobuf/wkt";
import type { CreateApiKeyRequest } from "@turnwright/contract/auth/v1/api_key_service";
import { type Identity, Role, TokenType } from "@turnwright/contract/auth/v1/identity";
import { ErrorReason, fail } from "@turnwright/platform/errors";
import { allows } from "@turnwright/platform/identity/identity";

/** The rights and limits of a new key. */
export interface KeyPolicy {
  readonly allowedTools: readonly string[];
  readonly allowedModels: readonly string[];
  readonly perMinute: number;
  readonly perDay: number;
  /** The most concurrent requests; 0: no limit. */
  readonly maxConcurrent: number;
  readonly spendLimitMicros: number | undefined;
  readonly expiresAt: Date | null;
  /** Scopes; empty: everything that a key may do. */
  readonly scopes: readonly string[];
  /** Whether it may decide on calls of runs that its own family started. */
  readonly mayApprove: boolean;
  /** UUID of the API key that creates it, and with which it ends; undefined: a login creates it. */
  readonly parentId: string | undefined;
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

function atMost(asked: number | undefined, own: number): number {
  if (own === 0) return asked ?? 0;
  return Math.min(asked ?? own, own);
}

/** A key without a ceiling of its own gets none here: the ceilings of the keys above it apply to it anyway. */
function ceilingOf(askedUsd: number | undefined, ownMicros: bigint): number | undefined {
  if (askedUsd === undefined) return undefined;
  const asked = Math.max(1, Math.round(askedUsd * 1e6));
  return ownMicros === 0n ? asked : Math.min(asked, Number(ownMicros));
}

/**
 * The policy of a key that a caller asks for, which in no respect allows more than the caller's own credential. Throws
 * PERMISSION_DENIED.
 */
export function keyPolicy(caller: Identity, asked: CreateApiKeyRequest): KeyPolicy {
  if (caller.role === Role.AGENT) {
    throw fail(ErrorReason.PERMISSION_DENIED, "An account with the role agent cannot create API keys.");
  }
  const throughKey = caller.tokenType === TokenType.API_KEY;
  if (throughKey && asked.mayApprove && !caller.mayApprove) {
    throw fail(ErrorReason.PERMISSION_DENIED, "may_approve: exceeds the rights of your own key.", { param: "may_approve" });
  }
  const ownEnd = throughKey && caller.expiresAt !== undefined ? timestampDate(caller.expiresAt) : null;
  const askedEnd = asked.expiresAt === undefined ? ownEnd : timestampDate(asked.expiresAt);
  return {
    allowedTools: subset("allowed_tools", asked.allowedTools, caller.allowedTools),
    allowedModels: subset("allowed_models", asked.allowedModels, caller.allowedModels),
    perMinute: atMost(asked.rateLimitPerMinute, caller.rateLimitPerMinute),
    perDay: atMost(asked.rateLimitPerDay, caller.rateLimitPerDay),
    maxConcurrent: atMost(asked.maxConcurrent, caller.maxConcurrent),
    spendLimitMicros: ceilingOf(asked.spendLimitUsd, caller.spendLimitMicros),
    expiresAt: ownEnd !== null && askedEnd !== null && askedEnd > ownEnd ? ownEnd : askedEnd,
    scopes: subset("scopes", asked.scopes, caller.scopes),
    mayApprove: asked.mayApprove,
    parentId: throughKey ? caller.tokenId : undefined,
  };
}
