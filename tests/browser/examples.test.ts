import openapi from "@turnwright/contract/openapi.json" with { type: "json" };
import { signAccessToken } from "@turnwright/platform/identity/access-token";
import type { Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { findChromium, openBrowser } from "./chromium.ts";
import {
  attemptAt,
  endless,
  firstEvents,
  impossible,
  jwtSecret,
  orderedOperations,
  type Stage,
  startStage,
} from "./operations.ts";
import { schemaFaults } from "./schema-faults.ts";

type Json = null | boolean | number | string | Json[] | { [name: string]: Json };

interface Media {
  readonly schema: object;
  readonly example?: Json;
  readonly examples?: Readonly<Record<string, { readonly value: Json }>>;
}

interface Operation {
  readonly parameters?: readonly { readonly name: string; readonly in: string; readonly example?: Json }[];
  readonly requestBody?: { readonly content: Readonly<Record<string, Media>> };
  readonly responses: Readonly<Record<string, { readonly content?: Readonly<Record<string, Media>> }>>;
}

function operationOf(name: string): Operation {
  const [verb = "", path = ""] = name.split(" ");
  return (openapi.paths as unknown as Record<string, Record<string, Operation>>)[path]?.[verb] as Operation;
}

const bodiesOf = (media: Media | undefined): Json[] =>
  media === undefined
    ? []
    : media.examples === undefined
      ? [media.example ?? null]
      : Object.values(media.examples).map(({ value }) => value);

const isObject = (json: Json | undefined): json is { [name: string]: Json } =>
  typeof json === "object" && json !== null && !Array.isArray(json);

/** Fields with the same text in every answer. */
const constant = new Set(["object", "owned_by", "token_type", "status of /health"]);
/** Values of any form: the model's, a tool's, a key's. */
const free = new Set(["parameters", "results", "keys", "details"]);

/** Names of deprecated fields, which answers have and examples leave out. */
const deprecated = new Set(
  (Object.values(openapi.components.schemas) as { properties?: Record<string, { deprecated?: boolean }> }[]).flatMap(
    ({ properties = {} }) => Object.keys(properties).filter((name) => properties[name]?.deprecated === true),
  ),
);

/** Differences between an example and an answer: names that only one of them has, and other constant texts. */
function differences(example: Json | undefined, answer: Json | undefined, place = "", name = ""): string[] {
  if (Array.isArray(example) && Array.isArray(answer)) {
    return example.length === 0 || answer.length === 0 ? [] : differences(example[0], answer[0], `${place}[]`);
  }
  if (isObject(example) && isObject(answer)) {
    const names = new Set([...Object.keys(example), ...Object.keys(answer)].filter((one) => !free.has(one)));
    return [...names].flatMap((one) => {
      if (!(one in example)) return deprecated.has(one) ? [] : [`${place}.${one} is missing in the example`];
      if (!(one in answer)) return [`${place}.${one} is missing in the answer`];
      return differences(example[one], answer[one], `${place}.${one}`, one);
    });
  }
  return constant.has(name) && example !== answer
    ? [`${place} is ${JSON.stringify(answer)}, not ${JSON.stringify(example)}`]
    : [];
}

const documented = orderedOperations(openapi);
let stage: Stage;

beforeAll(async () => {
  stage = await startStage();
}, 60_000);
afterAll(() => stage?.stop());

/** Sends an operation with its example as an API page does: path fields filled in, no optional parameter. */
async function execute(name: string, body: Json | undefined): Promise<{ status: number; type: string; text: string }> {
  const attempt = await attemptAt(stage, name);
  const [verb = "", template = ""] = name.split(" ");
  const path = template.replace(/\{(\w+)\}/g, (_match, field: string) => attempt.path[field] ?? "");
  const sent = attempt.body ?? body;
  const response = await fetch(`${stage.baseUrl}${path}`, {
    method: verb.toUpperCase(),
    headers: {
      authorization: `Bearer ${attempt.token}`,
      ...(sent === undefined ? {} : { "content-type": "application/json" }),
    },
    ...(sent === undefined ? {} : { body: JSON.stringify(sent) }),
  });
  return {
    status: response.status,
    type: (response.headers.get("content-type") ?? "").split(";")[0] ?? "",
    text: endless.has(name) ? await firstEvents(response) : await response.text(),
  };
}

describe("the examples of the OpenAPI document", () => {
  test.each(documented)("are accepted, and the answer is like its example: %s", async (name) => {
    const { requestBody, responses } = operationOf(name);
    const examples = bodiesOf(requestBody?.content["application/json"]);
    for (const body of examples.length === 0 ? [undefined] : examples) {
      const { status, type, text } = await execute(name, body);
      const refusal = impossible[name];
      if (refusal !== undefined) {
        expect(JSON.parse(text)).toMatchObject({ error: { code: refusal.code } });
        return;
      }
      expect([name, status, status < 300 ? "" : text]).toEqual([name, status, ""]);
      const media = (responses[status] ?? responses["2XX"])?.content?.[type] ?? responses["2XX"]?.content?.[type];
      if (media === undefined) throw new Error(`${name}: no ${status} with ${type} is documented`);
      if (type === "text/event-stream") {
        const events = text.split("\n\n").flatMap((event) => /^data: (\{.*)$/m.exec(event)?.[1] ?? []);
        expect(events.length).toBeGreaterThan(0);
        for (const event of events) expect(schemaFaults(media.schema, JSON.parse(event))).toBe("");
        if (!endless.has(name)) expect(text).toMatch(/data: \[DONE\]\n\n$/);
      } else if (type !== "text/plain") {
        const answer = JSON.parse(text) as Json;
        expect(schemaFaults(media.schema, answer)).toBe("");
        for (const example of bodiesOf(media)) expect(differences(example, answer)).toEqual([]);
      }
    }
  });
});

const shared = openapi.components.responses as unknown as Record<string, { content: Record<string, Media> }>;
const told = (name: string, code: string): Json => shared[name]?.content["application/json"]?.examples?.[code]?.value ?? null;
const wordless = (text: string): Json => JSON.parse(text.replaceAll(/in \d+ s/g, "in 7 s")) as Json;

describe("the error examples of the OpenAPI document", () => {
  const ask = async (method: string, path: string, token: string, body?: object, headers: Record<string, string> = {}) => {
    const response = await fetch(`${stage.baseUrl}${path}`, {
      method,
      headers: {
        ...headers,
        ...(token === "" ? {} : { authorization: `Bearer ${token}` }),
        ...(body === undefined ? {} : { "content-type": "application/json" }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    return wordless(await response.text());
  };
  const keyWith = async (policy: object) =>
    (await stage.call<{ key: string }>("POST", "/v1/api-keys", stage.admin, { name: "errors", ...policy })).key;
  const nowhere = "/v1/conversations/01985f3c-6a2e-7c41-9b7d-2f4e8a1c5d60";

  test("are what the server sends, word for word", async () => {
    const token = { userId: "u", sessionId: "s", role: "user" };
    const expired = await signAccessToken({ secret: jwtSecret }, { ...token, expiresAt: Date.now() - 3_600_000 });
    const forged = await signAccessToken({ secret: `${jwtSecret}!` }, { ...token, expiresAt: Date.now() - 3_600_000 });
    const slow = await keyWith({ rate_limit_per_minute: 1 });
    await ask("GET", "/v1/auth/me", slow);
    const once = { "idempotency-key": "of-the-error-examples" };
    await ask("POST", "/v1/api-keys", stage.admin, { name: "one" }, once);

    expect(await ask("POST", "/v1/api-keys", stage.admin, { name: "", allowed_tool: ["calculator"] })).toEqual(
      told("InvalidRequest", "INVALID_REQUEST"),
    );
    expect(await ask("GET", "/v1/conversations/one", stage.admin)).toEqual(told("InvalidRequest", "INVALID_ID"));
    expect(await ask("GET", "/v1/auth/me", "")).toEqual(told("Unauthorized", "UNAUTHORIZED"));
    expect(await ask("GET", "/v1/auth/me", forged)).toEqual(told("Unauthorized", "INVALID_TOKEN"));
    expect(await ask("GET", "/v1/auth/me", expired)).toEqual(told("Unauthorized", "TOKEN_EXPIRED"));
    expect(await ask("GET", nowhere, await keyWith({ scopes: ["usage"] }))).toEqual(told("Forbidden", "FORBIDDEN"));
    expect(await ask("GET", nowhere, stage.admin)).toEqual(told("NotFound", "NOT_FOUND"));
    expect(await ask("GET", "/v1/auth/me", slow)).toEqual(told("RateLimited", "RATE_LIMIT"));
    expect(await ask("POST", "/v1/api-keys", stage.admin, { name: "two" }, once)).toEqual(
      told("IdempotencyKeyReused", "IDEMPOTENCY_KEY_REUSED"),
    );
  });

  test("are what the server sends where the endpoint gives the code", async () => {
    const { conversation_id: id } = await stage.call<{ conversation_id: string }>("POST", "/v1/conversations", stage.admin, {
      message: "What is 6 * 7?",
    });
    const account = { email: "admin@example.com", password: "SecurePass123" };
    const call = { id: "call_1", type: "function", function: { name: "calculater", arguments: "{}" } };
    const answers: Readonly<Record<string, Json>> = {
      "post /v1/auth/login": await ask("POST", "/v1/auth/login", "", account),
      "post /v1/auth/register": await ask("POST", "/v1/auth/register", "", account),
      "post /v1/auth/refresh": await ask("POST", "/v1/auth/refresh", "", { refresh_token: "rt-…" }),
      "post /v1/tools/execute": await ask("POST", "/v1/tools/execute", stage.admin, call),
      "post /v1/conversations/{conversation_id}/approve": await ask("POST", `/v1/conversations/${id}/approve`, stage.admin, {
        approved: true,
      }),
    };
    for (const [name, answer] of Object.entries(answers)) {
      expect(answer).toEqual(operationOf(name).responses.default?.content?.["application/json"]?.example);
    }
  });

  test("accept null for each field that the document says may be null, alone and in OpenAI's bodies", async () => {
    const refused: string[] = [];
    for (const name of documented) {
      const media = operationOf(name).requestBody?.content["application/json"];
      const { properties = {} } = resolved(media?.schema);
      const nullable = Object.keys(properties).filter((field) => schemaFaults(properties[field] ?? {}, null) === "");
      const [example] = bodiesOf(media);
      if (!isObject(example)) continue;
      for (const field of nullable) {
        const { status, text } = await nullIn(name, { ...example, [field]: null });
        const { param } = status < 400 ? { param: "" } : (JSON.parse(text) as { error: { param: string | null } }).error;
        if (param === field) refused.push(`${name} ${field}: ${text}`);
      }
    }
    expect(refused).toEqual([]);
  });

  /** Requests with ids of nothing: their bodies are read, and nothing is made of them. */
  async function nullIn(name: string, body: object): Promise<{ status: number; text: string }> {
    const [verb = "", template = ""] = name.split(" ");
    const path = template.replace(/\{\w+\}/g, "01985f3c-6a2e-7c41-9b7d-2f4e8a1c5d60");
    const response = await fetch(`${stage.baseUrl}${path}`, {
      method: verb.toUpperCase(),
      headers: { authorization: `Bearer ${stage.admin}`, "content-type": "application/json" },
      body: JSON.stringify(body),
    });
    return { status: response.status, text: await response.text() };
  }
});

/**
 * The operations to press Execute at: all of them with EVERY_OPERATION=1, else some whose examples once failed: with
 * optional parameters and headers, streams, bodies that are lists.
 */
const pressed =
  process.env.EVERY_OPERATION === "1"
    ? documented
    : [
        "post /v1/auth/register",
        "get /v1/usage",
        "get /v1/conversations",
        "get /v1/runs/{run_id}/events",
        "get /v1/conversations/{conversation_id}/messages",
        "post /v1/tools/batch",
      ];
const executable = findChromium("each operation executed in Swagger UI");

describe.skipIf(executable === undefined)("Execute in Swagger UI", () => {
  let browser: Awaited<ReturnType<typeof openBrowser>>;
  let page: Page;
  const outside: string[] = [];

  beforeAll(async () => {
    // A system of its own: the account of the examples is registered here again.
    await stage.stop();
    stage = await startStage();
    browser = await openBrowser(executable as string);
    page = await browser.context.newPage();
    page.on("request", (request) => {
      if (!request.url().startsWith(stage.baseUrl) && !request.url().startsWith("data:")) outside.push(request.url());
    });
  }, 120_000);
  afterAll(() => browser?.close());

  /** Loads the page with some of the server's operations: it draws all of them again at every change. */
  async function load(names: readonly string[]): Promise<void> {
    const paths = new Set(names.map((name) => name.split(" ")[1]));
    await page.unroute("**/swagger/doc.json");
    await page.route("**/swagger/doc.json", async (route) => {
      const document = (await (await route.fetch()).json()) as { paths: Record<string, object> };
      const some = Object.fromEntries(Object.entries(document.paths).filter(([path]) => paths.has(path)));
      await route.fulfill({ json: { ...document, paths: some } });
    });
    await page.goto(`${stage.baseUrl}/swagger/index.html`);
    await page.locator(".opblock").first().waitFor();
  }

  /** Opens an operation, fills in what a person knows, presses Execute, and returns what the page shows. */
  async function press(name: string): Promise<{ status: string; body: string }> {
    const { path, token, body } = await attemptAt(stage, name);
    const [verb = "", template = ""] = name.split(" ");
    await page.evaluate((value) => {
      const { ui } = globalThis as unknown as { ui: { preauthorizeApiKey(scheme: string, value: string): void } };
      ui.preauthorizeApiKey("bearerAuth", value);
    }, token);
    const block = page.locator(`.opblock-${verb}`, { has: page.locator(`[data-path="${template}"]`) });
    await block.locator(".opblock-summary-control").first().click();
    for (const [field, value] of Object.entries(path)) {
      if (template.includes(`{${field}}`)) await block.locator(`tr[data-param-name="${field}"] input`).fill(value);
    }
    if (body !== undefined) await block.locator("textarea.body-param__text").fill(JSON.stringify(body));
    await block.locator("button.execute").click();
    const live = block.locator(".live-responses-table");
    await live.waitFor();
    const status = (await live.locator(".response-col_status").last().textContent()) ?? "";
    const shown = (await live.locator(".response-col_description").last().textContent()) ?? "";
    await block.locator(".opblock-summary-control").first().click();
    return { status, body: shown };
  }

  test("succeeds with what the page fills in, and ids of one's own", async () => {
    const failed: string[] = [];
    for (const [index, name] of pressed.entries()) {
      if (index % 6 === 0) await load(pressed.slice(index, index + 6));
      const { status, body } = await press(name);
      const refusal = impossible[name];
      const isRight = refusal === undefined ? /^2\d\d/.test(status) : body.includes(refusal.code);
      if (!isRight) failed.push(`${name}: ${status} ${body.slice(0, 300)}`);
    }
    expect(failed).toEqual([]);
    expect(outside).toEqual([]);
  }, 900_000);

  test("asks for JSON where an operation also streams", async () => {
    await load(["post /v1/conversations"]);
    const { status, body } = await press("post /v1/conversations");
    expect(status).toContain("201");
    expect(body).toContain('"conversation_id"');
  }, 60_000);

  test("understands a token that was pasted with its scheme", async () => {
    await load(["get /v1/auth/me"]);
    const [answer] = await Promise.all([
      page.waitForResponse((response) => response.url().endsWith("/v1/auth/me")),
      (async () => {
        await page.locator("button.authorize").first().click();
        await page.locator(".auth-container input").fill(`Bearer ${stage.admin}`);
        await page.locator(".modal-ux button.authorize").click();
        await page.locator(".modal-ux button.btn-done").click();
        const block = page.locator(".opblock-get", { has: page.locator('[data-path="/v1/auth/me"]') });
        await block.locator(".opblock-summary-control").first().click();
        await block.locator("button.execute").click();
      })(),
    ]);
    expect(answer.status()).toBe(200);
    expect(answer.request().headers().authorization).toMatch(/^Bearer Bearer /);
  }, 60_000);
});

function resolved(schema: object | undefined): { properties?: Record<string, object> } {
  const { $ref, ...own } = (schema ?? {}) as { $ref?: string; properties?: Record<string, object> };
  if ($ref === undefined) return own;
  const components = openapi.components.schemas as unknown as Record<string, object>;
  return resolved(components[$ref.split("/").at(-1) ?? ""]);
}
