import { timestampDate } from "@bufbuild/protobuf/wkt";
import type { CreateApiKeyRequest, UpdateApiKeyRequest } from "@turnwright/contract/auth/v1/api_key_service";
import { type ApiKey, type Identity, Role, TokenType } from "@turnwright/contract/auth/v1/identity";
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

/** The name and policy of a key after a change. */
export type KeyChange = Omit<KeyPolicy, "parentId"> & { readonly name: string };

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
 * PERMISSION_DENIED. A login may give `perMinute` requests a minute at most: its own limit is for its pages.
 */
export function keyPolicy(caller: Identity, asked: CreateApiKeyRequest, { perMinute }: { perMinute: number }): KeyPolicy {
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
    perMinute: atMost(
      asked.rateLimitPerMinute,
      throughKey ? caller.rateLimitPerMinute : atMost(perMinute, caller.rateLimitPerMinute),
    ),
    perDay: atMost(asked.rateLimitPerDay, caller.rateLimitPerDay),
    maxConcurrent: atMost(asked.maxConcurrent, caller.maxConcurrent),
    spendLimitMicros: ceilingOf(asked.spendLimitUsd, caller.spendLimitMicros),
    expiresAt: ownEnd !== null && askedEnd !== null && askedEnd > ownEnd ? ownEnd : askedEnd,
    scopes: subset("scopes", asked.scopes, caller.scopes),
    mayApprove: asked.mayApprove,
    parentId: throughKey ? caller.tokenId : undefined,
  };
}

const rightLists = { allowedTools: "allowed_tools", allowedModels: "allowed_models", scopes: "scopes" } as const;
type RightList = keyof typeof rightLists;

/** A limit after a change; a key's own limit never exceeds the caller's. */
const changedLimit = (asked: number | undefined, now: number, own: number) => (asked === undefined ? now : atMost(asked, own));

function changedEnd(caller: Identity, key: ApiKey, creator: ApiKey | undefined, asked: UpdateApiKeyRequest): Date | null {
  const now = key.expiresAt === undefined ? null : timestampDate(key.expiresAt);
  if (asked.expiresAt === undefined && !asked.neverExpires) return now;
  const ends = [asked.expiresAt, caller.tokenType === TokenType.API_KEY ? caller.expiresAt : undefined, creator?.expiresAt];
  const times = ends.filter((end) => end !== undefined).map((end) => timestampDate(end).getTime());
  return times.length === 0 ? null : new Date(Math.min(...times));
}

function ceilingAfter(caller: Identity, key: ApiKey, asked: UpdateApiKeyRequest): number | undefined {
  if (asked.spendLimitUsd === undefined) return key.spendLimitUsd && Math.round(key.spendLimitUsd * 1e6);
  return ceilingOf(asked.spendLimitUsd === 0 ? undefined : asked.spendLimitUsd, caller.spendLimitMicros);
}

/** Refuses a change after which a key that this one created would allow more than this one. */
function checkCreated(change: KeyChange, created: readonly ApiKey[]): void {
  for (const child of created) {
    const wider = (Object.keys(rightLists) as RightList[]).find((list) => {
      if (isUnlimited(change[list])) return false;
      return isUnlimited(child[list]) || child[list].some((name) => !allows(change[list], name));
    });
    const field = wider === undefined ? (child.mayApprove && !change.mayApprove ? "may_approve" : undefined) : rightLists[wider];
    if (field === undefined) continue;
    const name = JSON.stringify(child.name);
    throw fail(
      ErrorReason.CONFLICT,
      `${field}: the key ${name}, which this key created, would allow more. Change or revoke it first.`,
      {
        param: field,
      },
    );
  }
}

/**
 * The policy of a key after a change that a caller asks for. It allows no more than the caller's credential and the
 * key's creator, and no less than the keys that the key created. Throws PERMISSION_DENIED and CONFLICT.
 */
export function changedPolicy(
  caller: Identity,
  { key, creator, created }: { key: ApiKey; creator: ApiKey | undefined; created: readonly ApiKey[] },
  asked: UpdateApiKeyRequest,
): KeyChange {
  if (caller.role === Role.AGENT) {
    throw fail(ErrorReason.PERMISSION_DENIED, "An account with the role agent cannot change API keys.");
  }
  if (asked.neverExpires && asked.expiresAt !== undefined) {
    throw fail(ErrorReason.INVALID_REQUEST, "never_expires: excludes expires_at.", { param: "never_expires" });
  }
  const given = [...(caller.tokenType === TokenType.API_KEY ? [caller] : []), ...(creator === undefined ? [] : [creator])];
  if (asked.mayApprove && !key.mayApprove && given.some(({ mayApprove }) => !mayApprove)) {
    throw fail(ErrorReason.PERMISSION_DENIED, "may_approve: exceeds the rights of your own key or of the key's creator.", {
      param: "may_approve",
    });
  }
  const list = (name: RightList): readonly string[] => {
    if (asked[name].length === 0) return key[name];
    const held = subset(rightLists[name], asked[name], caller[name]);
    return creator === undefined ? held : subset(rightLists[name], held, creator[name]);
  };
  const change = {
    name: asked.name ?? key.name,
    allowedTools: list("allowedTools"),
    allowedModels: list("allowedModels"),
    scopes: list("scopes"),
    perMinute: changedLimit(asked.rateLimitPerMinute, key.rateLimitPerMinute, caller.rateLimitPerMinute),
    perDay: changedLimit(asked.rateLimitPerDay, key.rateLimitPerDay, caller.rateLimitPerDay),
    maxConcurrent: changedLimit(asked.maxConcurrent, key.maxConcurrent, caller.maxConcurrent),
    spendLimitMicros: ceilingAfter(caller, key, asked),
    expiresAt: changedEnd(caller, key, creator, asked),
    mayApprove: asked.mayApprove ?? key.mayApprove,
  };
  checkCreated(change, created);
  return change;
}
