import { createCipheriv, createDecipheriv, createHmac, hkdfSync, randomBytes } from "node:crypto";
import { create, type DescMessage, fromBinary, type Message, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import type { HandlerContext } from "@connectrpc/connect";
import { TokenType } from "@turnwright/contract/auth/v1/identity";
import { acceptedSecrets, type Secrets } from "../config/secrets.ts";
import { ErrorReason, fail } from "../errors.ts";
import { identityKey } from "../identity/identity.ts";
import { idempotencyKeyOf } from "../rpc/idempotency-key.ts";
import type { Queryable, Tx } from "./pool.ts";

/** Marks a response that was first given to an earlier request. */
export const idempotentReplayedHeader = "idempotent-replayed";

/** Hours for which a key is bound to its request. */
const keptHours = 24;

/** Work guarded by an idempotency key. */
export interface OnceWork<P, R> {
  /** Opens the transaction in which the effect and its record commit together. */
  transaction<T>(work: (tx: Tx) => Promise<T>): Promise<T>;
  /** Slow work without effects: done before the transaction, and skipped for a request that was already answered. */
  prepare?(): Promise<P>;
  /** The effect. If it throws, the key stays free. */
  act(tx: Tx, prepared: P): Promise<R>;
}

/** Runs creations once per idempotency key. */
export interface Idempotency {
  /**
   * Runs the work, or returns the response to the same request under the same key. A call without a key just runs.
   * Throws IDEMPOTENCY_KEY_REUSED when the key belongs to a different request.
   */
  once<P, R extends MessageInitShape<DescMessage>>(
    ctx: HandlerContext,
    request: Message,
    work: OnceWork<P, R>,
  ): Promise<{ response: R; replayed: boolean }>;
}

/** A call under its key, as stored in the table. */
interface Claim {
  readonly keyHash: Buffer;
  readonly requestHash: Buffer;
  readonly userId: string | null;
  readonly method: string;
  /** Encrypts the response; cannot be derived without the client's key. */
  readonly sealingKey: Buffer;
}

function derive(secret: string, salt: string, purpose: string): Buffer {
  return Buffer.from(hkdfSync("sha256", secret, salt, `turnwright idempotency ${purpose}`, 32));
}

const mac = (key: Buffer, ...parts: (string | Uint8Array)[]): Buffer => {
  const hmac = createHmac("sha256", key);
  // Lengths keep different lists of parts apart.
  for (const part of parts) hmac.update(`${Buffer.byteLength(part)}:`).update(part);
  return hmac.digest();
};

/**
 * Derives a call's claim. A key is scoped to its method and user; callers without an identity share one scope. An API
 * key counts as part of the request: a credential with fewer rights must not obtain another one's response by repeating
 * its request. All hashes are keyed with the secret, because requests contain passwords, and the key that decrypts the
 * response also depends on the client's key.
 */
function claimOf(secret: string, key: string, ctx: HandlerContext, request: Message): Claim {
  const identity = ctx.values.get(identityKey);
  const method = `${ctx.method.parent.typeName}/${ctx.method.name}`;
  const userId = identity?.userId ?? "";
  const credential = identity?.tokenType === TokenType.API_KEY ? identity.tokenId : "";
  const bytes = toBinary(ctx.method.input, request, { writeUnknownFields: false });
  const salt = `${userId} ${method} ${key}`;
  return {
    keyHash: mac(derive(secret, "", "key"), userId, method, key),
    requestHash: mac(derive(secret, salt, "request"), credential, bytes),
    userId: userId === "" ? null : userId,
    method,
    sealingKey: derive(secret, salt, "answer"),
  };
}

const [nonceBytes, tagBytes] = [12, 16];

function seal({ sealingKey, requestHash }: Claim, answer: Uint8Array): Buffer {
  const nonce = randomBytes(nonceBytes);
  const cipher = createCipheriv("aes-256-gcm", sealingKey, nonce).setAAD(requestHash);
  const sealed = Buffer.concat([cipher.update(answer), cipher.final()]);
  return Buffer.concat([nonce, cipher.getAuthTag(), sealed]);
}

function unseal({ sealingKey, requestHash }: Claim, sealed: Buffer): Buffer {
  const nonce = sealed.subarray(0, nonceBytes);
  const decipher = createDecipheriv("aes-256-gcm", sealingKey, nonce).setAAD(requestHash);
  decipher.setAuthTag(sealed.subarray(nonceBytes, nonceBytes + tagBytes));
  return Buffer.concat([decipher.update(sealed.subarray(nonceBytes + tagBytes)), decipher.final()]);
}

interface Row {
  request_hash: Buffer;
  response: Buffer;
}

/** The response in a row. Throws IDEMPOTENCY_KEY_REUSED. */
function answerIn(row: Row, claim: Claim): Buffer {
  if (row.request_hash.equals(claim.requestHash)) return unseal(claim, row.response);
  throw fail(ErrorReason.IDEMPOTENCY_KEY_REUSED, "Idempotency-Key: stands for another request already.", {
    param: "Idempotency-Key",
  });
}

async function findAnswer(db: Queryable, claim: Claim): Promise<Buffer | undefined> {
  const { rows } = await db.query<Row>({
    name: "find-idempotent-answer",
    text: `select request_hash, response from idempotency_keys
           where key_hash = $1 and created_at > now() - make_interval(hours => $2)`,
    values: [claim.keyHash, keptHours],
  });
  return rows[0] && answerIn(rows[0], claim);
}

/**
 * Takes the key for this transaction; returns false when another request holds it. Waits for a concurrent holder; its
 * rollback passes the key on. The row of an expired key counts as absent. Any other row is locked, so that it still
 * exists for the read that follows.
 */
async function takeKey(tx: Tx, claim: Claim): Promise<boolean> {
  const { rowCount } = await tx.query({
    name: "take-idempotency-key",
    text: `insert into idempotency_keys as k (key_hash, user_id, method, request_hash) values ($1, $2, $3, $4)
           on conflict (key_hash) do update
             set request_hash = excluded.request_hash, response = excluded.response, created_at = excluded.created_at
             where k.created_at <= now() - make_interval(hours => $5)`,
    values: [claim.keyHash, claim.userId, claim.method, claim.requestHash, keptHours],
  });
  return rowCount === 1;
}

/** The claims of a call under each secret, always in the same order, so that no two processes wait for each other. */
function claimsOf(secrets: Secrets, key: string, ctx: HandlerContext, request: Message): [Claim, ...Claim[]] {
  const claims = acceptedSecrets(secrets).map((secret) => claimOf(secret, key, ctx, request));
  return claims.sort((a, b) => Buffer.compare(a.keyHash, b.keyHash)) as [Claim, ...Claim[]];
}

async function findAnswerOfAny(db: Queryable, claims: readonly Claim[]): Promise<Buffer | undefined> {
  for (const claim of claims) {
    const answer = await findAnswer(db, claim);
    if (answer !== undefined) return answer;
  }
  return undefined;
}

/** Takes every key, so that processes with another secret find the call. Returns the answer if one was taken before. */
async function takeKeys(tx: Tx, claims: readonly Claim[]): Promise<Buffer | undefined> {
  let answer: Buffer | undefined;
  const taken: Claim[] = [];
  for (const claim of claims) {
    if (await takeKey(tx, claim)) taken.push(claim);
    else answer ??= await findAnswer(tx, claim);
  }
  if (answer !== undefined) await storeAnswer(tx, taken, answer);
  return answer;
}

async function storeAnswer(tx: Tx, claims: readonly Claim[], answer: Uint8Array): Promise<void> {
  for (const claim of claims) {
    await tx.query({
      name: "store-idempotent-answer",
      text: "update idempotency_keys set response = $2 where key_hash = $1",
      values: [claim.keyHash, seal(claim, answer)],
    });
  }
}

/** Deletes expired keys. */
export async function pruneIdempotencyKeys(db: Queryable): Promise<void> {
  await db.query("delete from idempotency_keys where created_at <= now() - make_interval(hours => $1)", [keptHours]);
}

/** Runs work under the same name one after another. */
function createTurnstile(): <T>(name: string, work: () => Promise<T>) => Promise<T> {
  const last = new Map<string, Promise<unknown>>();
  return async (name, work) => {
    const before = last.get(name);
    const own = before === undefined ? work() : before.then(work, work);
    last.set(name, own);
    try {
      return await own;
    } finally {
      if (last.get(name) === own) last.delete(name);
    }
  };
}

/**
 * Idempotency on the service's own table `idempotency_keys`. `secrets` are the mesh's: under others, keys are not
 * recognised. With several, a call is stored under each of them. Duplicates in one process wait for each other in
 * memory instead of holding connections; those in different processes wait on the row.
 */
export function createIdempotency(deps: { secrets: Secrets }): Idempotency {
  const inTurn = createTurnstile();
  return {
    async once(ctx, request, { transaction, prepare, act }) {
      const key = idempotencyKeyOf(ctx);
      const prepared = async () => (await prepare?.()) as never;
      if (key === "") {
        const ready = await prepared();
        return { response: await transaction((tx) => act(tx, ready)), replayed: false };
      }
      const claims = claimsOf(deps.secrets, key, ctx, request);
      const { output } = ctx.method;
      // The first response is also read from its record, so that all responses are identical by construction.
      const read = (answer: Uint8Array) => fromBinary(output, answer) as never;
      const replay = (answer: Uint8Array) => {
        ctx.responseHeader.set(idempotentReplayedHeader, "true");
        return { response: read(answer), replayed: true };
      };
      return inTurn(claims[0].keyHash.toString("base64"), async () => {
        // The client may have disconnected while it waited.
        ctx.signal.throwIfAborted();
        const known = prepare && (await transaction((tx) => findAnswerOfAny(tx, claims)));
        if (known !== undefined) return replay(known);
        const ready = await prepared();
        return transaction(async (tx) => {
          const earlier = await takeKeys(tx, claims);
          if (earlier !== undefined) return replay(earlier);
          const answer = toBinary(output, create(output, await act(tx, ready)));
          await storeAnswer(tx, claims, answer);
          return { response: read(answer), replayed: false };
        });
      });
    },
  };
}
