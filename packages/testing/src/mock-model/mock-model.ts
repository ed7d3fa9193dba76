import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { type AskedRequest, readAsked } from "./asked.ts";
import { digestOf, draftOf } from "./draft.ts";
import { modes, planOf } from "./modes.ts";
import { type Plan, plainPlan } from "./plan.ts";
import type { Refusal } from "./refusal.ts";
import { replyOf } from "./reply.ts";
import { type OpenResponse, sendFault, sendRefusal, sendReply } from "./send.ts";
import { refusalFor } from "./strict.ts";

/** A model endpoint whose faults are chosen by the model's name. */
export interface MockModel {
  /** `http://127.0.0.1:port`, without `/v1`. */
  readonly url: string;
  /** Closes the server and all connections. */
  close(): Promise<void>;
}

/** Options of the mock model. */
export interface MockModelOptions {
  /** Default: any free port. */
  readonly port?: number;
  /** Default: 127.0.0.1. */
  readonly host?: string;
  /** Refuses bodies and names of models that OpenAI would refuse, for all models. */
  readonly isStrict?: boolean;
  /** Refuses requests without this key. */
  readonly apiKey?: string;
  /** Called with each request for a completion, before it is answered. */
  readonly onAsked?: (asked: AskedRequest) => void;
}

const notFound = (model: string): Refusal => ({
  status: 404,
  message: `The model \`${model.slice(0, 200)}\` does not exist or you do not have access to it.`,
  type: "invalid_request_error",
  param: null,
  code: "model_not_found",
});
const noJson: Refusal = {
  status: 400,
  message: "We could not parse the JSON body of your request: it needs `messages`, a list of objects with a role.",
  type: "invalid_request_error",
};
const noKey: Refusal = {
  status: 401,
  message: "Incorrect API key provided.",
  type: "invalid_request_error",
  code: "invalid_api_key",
};

/** Names that the list of models shows: the plain one, and one for each mode. */
export function listedModels(): string[] {
  const example = (syntax: string) =>
    syntax.replace("<n>", syntax.startsWith("status") ? "500" : "3").replace("<name>", "calculator");
  return ["mock", ...Object.values(modes).flatMap((all) => all.map(({ syntax }) => `mock-${example(syntax)}`))];
}

/** Counts requests with the same messages to the same model; forgets the oldest. */
class Attempts {
  readonly #counts = new Map<string, number>();

  /** How many there were before this one. */
  before(key: string): number {
    const count = this.#counts.get(key) ?? 0;
    this.#counts.delete(key);
    this.#counts.set(key, count + 1);
    if (this.#counts.size > 10_000) for (const [oldest] of this.#counts.entries().take(1)) this.#counts.delete(oldest);
    return count;
  }
}

/** Whether the plan's faults meet this request. */
function isFaulty(plan: Plan, asked: AskedRequest["body"], attempts: Attempts): boolean {
  const digest = digestOf(asked.messages);
  if (plan.share !== undefined && Number.parseInt(digest.slice(0, 8), 16) % 100 >= plan.share) return false;
  return plan.times === undefined || attempts.before(`${asked.model} ${digest}`) < plan.times;
}

async function complete(open: OpenResponse, request: AskedRequest, options: MockModelOptions, attempts: Attempts): Promise<void> {
  const { body } = request;
  const isMock = /^mock(?:-|$)/.test(body.model);
  const plan = planOf(body.model) ?? (isMock || options.isStrict ? undefined : plainPlan());
  if (plan === undefined) return sendRefusal(open, notFound(body.model), {});
  const strict = plan.isStrict || options.isStrict ? refusalFor(JSON.parse(request.bytes.toString("utf8"))) : undefined;
  if (strict !== undefined) return sendRefusal(open, strict, {});
  for (const { refuse } of plan.quirks) {
    const refused = refuse?.(body);
    if (refused !== undefined) return sendRefusal(open, refused, {}, plan.errorForm ?? refused.form);
  }
  const { quirks } = plan;
  const met = isFaulty(plan, body, attempts)
    ? plan
    : { ...plainPlan(), quirks, words: plan.words, tool: plan.tool, calls: plan.calls };
  if (await sendFault(open, met, body.stream === true)) return;
  const reply = replyOf(body, draftOf(body, met));
  for (const { alter } of quirks) alter?.(reply);
  await sendReply(open, reply, met);
}

async function bytesOf(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

function listModels({ response }: OpenResponse): void {
  const data = listedModels().map((id) => ({ id, object: "model", created: 1_700_000_000, owned_by: "mock" }));
  response.writeHead(200, { "content-type": "application/json" });
  response.end(JSON.stringify({ object: "list", data }));
}

/** Starts the mock model on loopback. */
export async function startMockModel(options: MockModelOptions = {}): Promise<MockModel> {
  const attempts = new Attempts();
  const answer = async (request: IncomingMessage, open: OpenResponse) => {
    const bytes = await bytesOf(request);
    const [path = ""] = (request.url ?? "").split("?");
    if (options.apiKey !== undefined && request.headers.authorization !== `Bearer ${options.apiKey}`)
      return sendRefusal(open, noKey, {});
    if (request.method === "GET" && path.endsWith("/models")) return listModels(open);
    if (request.method !== "POST" || !path.endsWith("/chat/completions"))
      return sendRefusal(open, { status: 404, message: `Unknown request URL: ${request.method} ${path.slice(0, 200)}.` }, {});
    const body = readAsked(bytes);
    if (body === undefined) return sendRefusal(open, noJson, {});
    const asked = { body, bytes, headers: request.headers, at: performance.now() };
    options.onAsked?.(asked);
    await complete(open, asked, options, attempts);
  };
  const server = createServer(async (request: IncomingMessage, response: ServerResponse) => {
    const leaving = new AbortController();
    response.once("close", () => leaving.abort());
    response.on("error", () => {});
    try {
      await answer(request, { response, left: leaving.signal });
    } catch {
      // The client has left, in the middle of its body or during a wait.
      response.destroy();
    }
  });
  server.listen(options.port ?? 0, options.host ?? "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    async close() {
      const closed = once(server, "close");
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}
