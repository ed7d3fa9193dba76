import { chmodSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createTestDatabase, type TestDatabase } from "@turnwright/testing/database";
import {
  type ScriptedModel,
  type ScriptedReply,
  type ScriptedRequest,
  startScriptedModel,
} from "@turnwright/testing/scripted-model";
import pg from "pg";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type System, startSystem } from "./system.ts";

/** Tokens of the model's window. */
const window = 8_192;
const maxMessages = 20_000;

let database: TestDatabase;
let model: ScriptedModel;
let token: string;
let dataDir: string;

/** Tokens of a text: short words, numbers of three digits, and signs. */
function tokensOf(text: string): number {
  return text.match(/ ?[A-Za-z]{1,6}|\d{1,3}|\s+|[^\sA-Za-z\d]/g)?.length ?? 0;
}

interface Refusal {
  readonly tokens: number;
  readonly words: string;
}
const refusals: Refusal[] = [];
const variants: { known: string; env: Record<string, string>; mostRefusals: number }[] = [
  { known: "configured", env: { LLM_CONTEXT_WINDOW: String(window) }, mostRefusals: 0 },
  { known: "unknown", env: {}, mostRefusals: 2 },
];

/** A strict model with a small window: it refuses what does not fit, and roles that do not alternate. */
function strictAnswer({ body }: ScriptedRequest): ScriptedReply {
  const prompt = tokensOf(JSON.stringify({ messages: body.messages, tools: body.tools }));
  const tokens = prompt + Number(body.max_tokens ?? 0);
  const refuse = (words: string): ScriptedReply => {
    refusals.push({ tokens, words });
    return { status: 400, error: words };
  };
  if (tokens > window) {
    return refuse(`This model's maximum context length is ${window} tokens. However, you requested ${tokens} tokens.`);
  }
  const roles = body.messages.slice(1).map(({ role }) => role);
  if (roles[0] !== "user" || roles.some((role, at) => role === "user" && roles[at + 1] === "user")) {
    return refuse("Conversation roles must alternate user/assistant/user/assistant/...");
  }
  const usage = { prompt_tokens: prompt, completion_tokens: 5, total_tokens: prompt + 5 };
  const last = body.messages.at(-1);
  const isAsked = last?.role === "user" && String(last.content).startsWith("read");
  return isAsked
    ? { calls: [{ id: "call_1", name: "read_file", arguments: '{"bytes":2000000}' }], usage }
    : { text: "Hello.", usage };
}

interface Answer {
  readonly status: number;
  readonly text: string;
  readonly data: { readonly conversation_id: string; readonly response: string; readonly access_token: string };
}

let system: System;

async function call(path: string, body: object): Promise<Answer> {
  const authorization = token === undefined ? {} : { authorization: `Bearer ${token}` };
  const response = await fetch(system.baseUrl + path, {
    method: "POST",
    headers: { "content-type": "application/json", ...authorization },
    body: JSON.stringify(body),
  });
  const text = await response.text();
  return { status: response.status, text, data: JSON.parse(text).data };
}

const say = (message: string, conversation?: string) =>
  call(conversation === undefined ? "/v1/conversations" : `/v1/conversations/${conversation}/messages`, { message });

const lastRequest = () => model.requests.filter(({ method }) => method === "POST").at(-1);

/** A conversation with so many messages, of which the first is real. */
async function conversationOf(messages: number, bytes: number): Promise<string> {
  const id = (await say("hello")).data.conversation_id;
  const client = new pg.Client({ connectionString: database.url });
  await client.connect();
  await client.query(
    `insert into conversation.messages (conversation_id, id, sequence_number, role, content)
     select $1, gen_random_uuid(), n, case n % 2 when 1 then 'user' else 'assistant' end, rpad('Message ' || n || ' ', $3, 'some words ')
     from generate_series(3, $2::integer) n`,
    [id, messages, bytes],
  );
  await client.query("update conversation.conversations set message_count = $2 where id = $1", [id, messages]);
  await client.end();
  return id;
}

describe.each(variants)("a conversation with a model of 8,192 tokens whose window is $known", ({ env, mostRefusals }) => {
  beforeAll(async () => {
    dataDir = mkdtempSync(join(tmpdir(), "turnwright-history-"));
    chmodSync(dataDir, 0o711);
    database = await createTestDatabase({ services: ["auth", "conversation", "tool"] });
    model = await startScriptedModel({ models: ["small"], answer: strictAnswer });
    const stores = { DATABASE_URL: database.url, DB_ROLE_PREFIX: "turnwright", TURNWRIGHT_DATA_DIR: dataDir };
    const tools = { TOOLS_DIR: join(import.meta.dirname, "large-tools") };
    const endpoint = { LLM_BASE_URL: model.url, LLM_DEFAULT_MODEL: "small" };
    system = await startSystem({ shape: "all-in-one", env: { ...stores, ...tools, ...endpoint, ...env } });
    const account = { email: "long@example.com", password: "SecurePass123" };
    await call("/v1/auth/register", { ...account, name: "L" });
    token = (await call("/v1/auth/login", account)).data.access_token;
    refusals.length = 0;
  }, 60_000);
  afterAll(async () => {
    await system.stop();
    await model.close();
    await database.drop();
    rmSync(dataDir, { recursive: true, force: true });
  });

  test("goes on at 20,000 messages, and sends the newest that fit", async () => {
    const id = await conversationOf(maxMessages, 1_000);
    refusals.length = 0;
    const started = performance.now();
    for (const message of ["are you there?", "hello?", "please"]) {
      expect(await say(message, id)).toMatchObject({ status: 200, data: { response: "Hello." } });
    }
    const ms = (performance.now() - started) / 3;
    console.log(`20,000 messages: ${Math.round(ms)} ms a message, ${lastRequest()?.bytes.length} bytes sent`);
    expect(refusals.length).toBeLessThanOrEqual(mostRefusals);
    expect(lastRequest()?.bytes.length).toBeGreaterThan(8_000);
    expect(lastRequest()?.bytes.length).toBeLessThan(40_000);
    const [system, first] = lastRequest()?.body.messages ?? [];
    expect(String(system?.content)).toMatch(/\[\d{5} earlier messages of this conversation left out here/);
    expect(String(first?.content)).toMatch(/^Message 19\d{3} /);
  });

  test("goes on after a result of 2 MB, which stays whole where it is stored", async () => {
    const id = (await say("hello")).data.conversation_id;
    refusals.length = 0;
    expect(await say("read the file", id)).toMatchObject({ status: 200, data: { response: "Hello." } });
    const result = String(lastRequest()?.body.messages.at(-1)?.content);
    expect(result).toMatch(/^\{"first":"begin".*\n\[Left out here: \d{7} bytes\]\n.*"last":"end"\}$/s);
    for (const message of ["are you there?", "hello?"]) {
      expect(await say(message, id)).toMatchObject({ status: 200, data: { response: "Hello." } });
    }
    console.log(`2 MB result: ${lastRequest()?.bytes.length} bytes sent, refusals ${JSON.stringify(refusals)}`);
    expect(refusals.length).toBeLessThanOrEqual(mostRefusals);
    const client = new pg.Client({ connectionString: database.url });
    await client.connect();
    const stored = "select max(octet_length(content)) as bytes from conversation.messages where role = 'tool'";
    const { rows } = await client.query<{ bytes: number }>(stored);
    await client.end();
    expect(rows[0]?.bytes).toBeGreaterThan(2_000_000 - 13);
  });

  test("refuses a message that is too long by itself, and takes the next one", async () => {
    const id = (await say("hello")).data.conversation_id;
    const refused = await say("word ".repeat(39_000), id);
    expect(refused.status).toBe(400);
    expect(JSON.parse(refused.text)).toMatchObject({ error: { message: expect.stringContaining("context") } });
    expect(await say("shorter", id)).toMatchObject({ status: 200, data: { response: "Hello." } });
  });
});
