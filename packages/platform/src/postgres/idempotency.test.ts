import { create, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { createContextValues } from "@connectrpc/connect";
import {
  ApiKeyService,
  CreateApiKeyRequestSchema,
  type CreateApiKeyResponse,
  CreateApiKeyResponseSchema,
} from "@turnwright/contract/auth/v1/api_key_service";
import { IdentitySchema, TokenType } from "@turnwright/contract/auth/v1/identity";
import { createTestDatabase, type TestDatabase } from "@turnwright/testing/database";
import type pg from "pg";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { detailOf, ErrorReason, reasonOf } from "../errors.ts";
import { identityKey } from "../identity/identity.ts";
import { createLogger } from "../logger.ts";
import { idempotencyKeyHeader } from "../rpc/idempotency-key.ts";
import { PlaneContext, requestBase } from "../rpc/plane.ts";
import { createIdempotency, idempotentReplayedHeader, type OnceWork, pruneIdempotencyKeys } from "./idempotency.ts";
import { createPool, type Tx, transaction } from "./pool.ts";

const secret = "a secret of more than thirty-two characters";
const alice = { userId: "0190a000-0000-7000-8000-000000000001", tokenId: "0190a000-0000-7000-8000-0000000000a1" };
const bob = { userId: "0190a000-0000-7000-8000-000000000002", tokenId: "0190a000-0000-7000-8000-0000000000b1" };

let database: TestDatabase;
let pool: pg.Pool;
beforeAll(async () => {
  database = await createTestDatabase({ services: ["auth"] });
  const logger = createLogger({ service: "test", level: "silent" });
  pool = createPool({ url: database.url, max: 10, schema: "auth", applicationName: "test", logger });
  await pool.query("create table effects (id int generated always as identity, name text)");
  for (const [i, { userId }] of [alice, bob].entries()) {
    await pool.query("insert into users (id, email, password_hash) values ($1, $2, '')", [userId, `${i}@example.com`]);
  }
});
afterAll(async () => {
  await pool.end();
  await database.drop();
});
beforeEach(() => pool.query("truncate idempotency_keys, effects"));

type Caller = { userId: string; tokenId: string; tokenType?: TokenType };
type Response = CreateApiKeyResponse | MessageInitShape<typeof CreateApiKeyResponseSchema>;

interface Ask {
  key?: string;
  name?: string;
  caller?: Caller;
  signal?: AbortSignal;
  rotate?: boolean;
  process?: ReturnType<typeof createIdempotency>;
}

const here = createIdempotency({ secrets: secret });

async function effect(tx: Tx, name: string): Promise<Response> {
  const { rows } = await tx.query<{ id: number }>("insert into effects (name) values ($1) returning id", [name]);
  return { apiKey: { id: `effect-${rows[0]?.id}`, createdAt: { seconds: 1n, nanos: 7 } }, key: "sk-secret" };
}

/** A handler's call that stores an effect; returns the binary response and whether it is marked as a replay. */
async function ask(
  { key = "k", name = "n", caller = alice, signal, rotate = false, process = here }: Ask = {},
  work: Partial<OnceWork<unknown, Response>> = {},
) {
  const values = createContextValues();
  if (caller.userId !== "") values.set(identityKey, create(IdentitySchema, caller));
  const method = rotate ? ApiKeyService.method.rotateApiKey : ApiKeyService.method.createApiKey;
  const header = new Headers(key === "" ? {} : { [idempotencyKeyHeader]: key });
  const init = { signal: signal ?? new AbortController().signal, header, contextValues: values };
  const ctx = new PlaneContext(Object.assign(requestBase(method, "", init), { stream: false }) as never, "test");
  const request = rotate
    ? create(ApiKeyService.method.rotateApiKey.input, { apiKeyId: name })
    : create(CreateApiKeyRequestSchema, { name });
  const { response, replayed } = await process.once(ctx, request, {
    transaction: (run) => transaction(pool, run),
    act: (tx) => effect(tx, name),
    ...work,
  });
  expect(ctx.responseHeader.get(idempotentReplayedHeader)).toBe(replayed ? "true" : null);
  const bytes = toBinary(CreateApiKeyResponseSchema, create(CreateApiKeyResponseSchema, response));
  return { answer: Buffer.from(bytes).toString("base64"), replayed };
}

const count = async (table: "effects" | "idempotency_keys") =>
  (await pool.query<{ count: number }>(`select count(*)::int as count from ${table}`)).rows[0]?.count;
const refusal = (work: Promise<unknown>) =>
  work.then(
    () => ErrorReason.UNSPECIFIED,
    (error: unknown) => reasonOf(error),
  );

describe("an idempotency key", () => {
  test("has one effect and one response for 100 concurrent duplicates in two processes", async () => {
    const there = createIdempotency({ secrets: secret });
    const answers = await Promise.all(Array.from({ length: 100 }, (_, i) => ask({ process: i % 2 === 0 ? here : there })));
    expect(new Set(answers.map(({ answer }) => answer)).size).toBe(1);
    expect(answers.filter(({ replayed }) => !replayed)).toHaveLength(1);
    expect([await count("effects"), await count("idempotency_keys")]).toEqual([1, 1]);
  });

  test("does not apply to calls without a key", async () => {
    await Promise.all([ask({ key: "" }), ask({ key: "" })]);
    expect([await count("effects"), await count("idempotency_keys")]).toEqual([2, 0]);
  });

  test("is bound to one request: a different one under it is refused without effect", async () => {
    await ask();
    const refused = await ask({ name: "other" }).catch((error: unknown) => error);
    expect(reasonOf(refused)).toBe(ErrorReason.IDEMPOTENCY_KEY_REUSED);
    expect(detailOf(refused)?.param).toBe("Idempotency-Key");
    expect(await count("effects")).toBe(1);
  });

  test("is scoped to its user and its method", async () => {
    const answers = await Promise.all([ask(), ask({ caller: bob }), ask({ rotate: true }), ask({ key: "l" })]);
    expect(new Set(answers.map(({ answer }) => answer)).size).toBe(4);
    expect(answers.filter(({ replayed }) => replayed)).toEqual([]);
  });

  test("gives an API key no response that another credential of its user received", async () => {
    const limited = { ...alice, tokenType: TokenType.API_KEY };
    await ask({ caller: { ...alice, tokenType: TokenType.ACCESS } });
    expect(await refusal(ask({ caller: limited }))).toBe(ErrorReason.IDEMPOTENCY_KEY_REUSED);
    await ask({ caller: limited, key: "own" });
    expect((await ask({ caller: limited, key: "own" })).replayed).toBe(true);
    expect(await refusal(ask({ caller: { ...limited, tokenId: bob.tokenId }, key: "own" }))).toBe(
      ErrorReason.IDEMPOTENCY_KEY_REUSED,
    );
  });

  test("serves callers without an identity, and replays only to those who send the same request", async () => {
    const nobody = { userId: "", tokenId: "" };
    const first = await ask({ caller: nobody });
    expect(await ask({ caller: nobody })).toEqual({ answer: first.answer, replayed: true });
    expect(await refusal(ask({ caller: nobody, name: "guess" }))).toBe(ErrorReason.IDEMPOTENCY_KEY_REUSED);
  });

  test("is free again when the request fails, also for those that waited for it", async () => {
    let failures = 0;
    const flaky: Partial<OnceWork<unknown, Response>> = {
      async act(tx) {
        const done = await effect(tx, "n");
        if (++failures <= 3) throw new Error("not yet");
        return done;
      },
    };
    const there = createIdempotency({ secrets: secret });
    const answers = await Promise.allSettled(
      Array.from({ length: 20 }, (_, i) => ask({ process: i % 2 === 0 ? here : there }, flaky)),
    );
    expect(answers.filter(({ status }) => status === "rejected")).toHaveLength(3);
    expect([await count("effects"), await count("idempotency_keys")]).toEqual([1, 1]);
  });

  test("leaves no trace when the connection breaks between effect and commit", async () => {
    const broken = ask(
      {},
      {
        async act(tx) {
          const done = await effect(tx, "n");
          const { rows } = await tx.query<{ pid: number }>("select pg_backend_pid() as pid");
          await pool.query("select pg_terminate_backend($1)", [rows[0]?.pid]);
          return done;
        },
      },
    );
    expect(await refusal(broken)).toBe(ErrorReason.DATABASE_UNAVAILABLE);
    expect([await count("effects"), await count("idempotency_keys")]).toEqual([0, 0]);
    expect((await ask()).replayed).toBe(false);
  });

  test("skips preparation for a request that was answered", async () => {
    let prepared = 0;
    const prepare = async () => ++prepared;
    await Promise.all(Array.from({ length: 20 }, () => ask({}, { prepare })));
    expect(prepared).toBe(1);
    expect(await refusal(ask({ name: "other" }, { prepare }))).toBe(ErrorReason.IDEMPOTENCY_KEY_REUSED);
    expect(prepared).toBe(1);
    expect(await count("effects")).toBe(1);
  });

  test("does nothing for a caller that disconnected while it waited", async () => {
    const [entered, goOn] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    const first = ask(
      {},
      {
        async act() {
          entered.resolve();
          await goOn.promise;
          throw new Error("failed");
        },
      },
    );
    await entered.promise;
    const client = new AbortController();
    const second = ask({ signal: client.signal });
    client.abort();
    goOn.resolve();
    await expect(first).rejects.toThrow("failed");
    await expect(second).rejects.toThrow();
    expect(await count("effects")).toBe(0);
  });

  test("expires after a day, whether it was pruned or not", async () => {
    await ask();
    await ask({ key: "young" });
    const age = (hours: number) =>
      pool.query(
        "update idempotency_keys set created_at = now() - make_interval(hours => $1) where method like '%CreateApiKey'",
        [hours],
      );
    await age(23);
    expect((await ask()).replayed).toBe(true);
    await age(24);
    expect((await ask({ name: "other" })).replayed).toBe(false);
    expect((await ask({ name: "other" })).replayed).toBe(true);
    await age(24);
    expect((await ask({ name: "third" }, { prepare: async () => "slow" })).replayed).toBe(false);
    await age(24);
    expect((await ask({ name: "other" })).replayed).toBe(false);
    expect(await count("idempotency_keys")).toBe(2);
    await pruneIdempotencyKeys(pool);
    expect(await count("idempotency_keys")).toBe(1);
    expect((await ask({ name: "other" })).replayed).toBe(true);
  });

  test("reveals nothing in the database: neither itself nor request, response or repetitions", async () => {
    const [key, name] = ["an idempotency key", "hunter2hunter2"];
    await ask({ key, name });
    await ask({ key, name, caller: bob });
    const { rows } = await pool.query("select * from idempotency_keys");
    const text = JSON.stringify(
      rows.map((row) => Object.values(row).map((v) => (Buffer.isBuffer(v) ? v.toString("latin1") : v))),
    );
    for (const told of [key, name, "sk-secret"]) expect(text).not.toContain(told);
    for (const column of ["key_hash", "request_hash", "response"]) {
      expect(new Set(rows.map((row) => row[column].toString("hex"))).size).toBe(2);
    }
  });

  test.each([
    ["adds the new one", secret, [secret, `${secret}!`]],
    ["signs with the new one", [secret, `${secret}!`], [`${secret}!`, secret]],
    ["removes the old one", [`${secret}!`, secret], `${secret}!`],
  ] as const)("has one effect for concurrent duplicates while one process already %s", async (_step, before, after) => {
    const processes = [before, after].map((secrets) => createIdempotency({ secrets }));
    const duplicates = Array.from({ length: 40 }, (_, at) => ask({ process: processes[at % 2] }));
    const answers = await Promise.all(duplicates);
    expect(new Set(answers.map(({ answer }) => answer)).size).toBe(1);
    expect(answers.filter(({ replayed }) => !replayed)).toHaveLength(1);
    expect(await count("effects")).toBe(1);
    await expect(ask({ process: processes[1], name: "other" })).rejects.toThrow("stands for another request");
  });

  test("passes from one secret to the next with the requests that are repeated under both", async () => {
    const next = `${secret}!`;
    const first = await ask({ process: createIdempotency({ secrets: secret }) });
    const between = createIdempotency({ secrets: [secret, next] });
    expect(await ask({ process: between })).toEqual({ ...first, replayed: true });
    expect(await ask({ process: createIdempotency({ secrets: next }) })).toEqual({ ...first, replayed: true });
  });

  test("finds nothing under another secret, and rejects a response moved to its row", async () => {
    await ask({ key: "one" });
    expect((await ask({ key: "one", process: createIdempotency({ secrets: `${secret}!` }) })).replayed).toBe(false);
    await pool.query("truncate idempotency_keys");
    await ask({ key: "one" });
    await ask({ key: "two" });
    await pool.query(
      "update idempotency_keys a set response = b.response from idempotency_keys b where a.key_hash <> b.key_hash",
    );
    await expect(ask({ key: "one" })).rejects.toThrow("unable to authenticate");
  });
});
