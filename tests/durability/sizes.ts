import { randomUUID } from "node:crypto";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { createClient } from "@connectrpc/connect";
import { createConnectTransport, createGrpcTransport } from "@connectrpc/connect-node";
import { AgentService } from "@turnwright/contract/agent/v1/agent_service";
import type { ScriptedModel } from "@turnwright/testing/scripted-model";
import pg from "pg";
import type { System } from "../e2e/system.ts";
import type { Json } from "../json-call.ts";
import { logIn } from "./disconnects.ts";
import { startSizedModel } from "./sized-model.ts";

/** The most bytes of one response: those of a message between the parts of a mesh. */
export const onePiece = 8 * 1024 * 1024;
const maxMessage = 200_000;
const maxText = 2 * 1024 * 1024;
const requestMs = 60_000;

/** A case at or beyond a limit. */
export interface SizeCase {
  readonly name: string;
  /** The fault; undefined: none. */
  readonly complaint?: string;
}

interface Answer {
  readonly status: number;
  readonly body: Json;
}

/** A system, a model that answers in any size, and a user. */
export class SizeStage {
  readonly #system: System;
  readonly #model: ScriptedModel;
  readonly #token: string;
  readonly #databaseUrl: string;
  readonly #cases: SizeCase[] = [];
  /** Bytes of the largest response so far. */
  largest = 0;

  private constructor(system: System, model: ScriptedModel, databaseUrl: string, token: string) {
    this.#system = system;
    this.#model = model;
    this.#databaseUrl = databaseUrl;
    this.#token = token;
  }

  /** `start` starts the system on a database with these variables. */
  static async open(
    start: (env: Record<string, string>) => Promise<{ system: System; databaseUrl: string }>,
  ): Promise<SizeStage> {
    const model = await startSizedModel();
    const tools = join(import.meta.dirname, "../e2e/large-tools");
    const { system, databaseUrl } = await start({
      LLM_BASE_URL: `${model.url}/v1`,
      LLM_API_KEY: "x",
      TOOLS_DIR: tools,
      RATE_LIMIT_ENABLED: "false",
    });
    return new SizeStage(system, model, databaseUrl, await logIn(system.baseUrl));
  }

  /** Plays all cases; `messages`: the long messages of the long conversation. */
  async play({ messages }: { messages: number }): Promise<readonly SizeCase[]> {
    await this.#doors();
    await this.#answers();
    await this.#results(["read 3 of 1900000", "read 6 of 1900000", "read 2 of 2200000", "read 128 of 60000"]);
    await this.#longConversation(messages);
    await this.#fullConversation();
    return await this.#ended();
  }

  /** Plays the cases that take little time: requests of clients and results of tools. */
  async playSlice(): Promise<readonly SizeCase[]> {
    await this.#doors();
    await this.#results(["read 2 of 2200000"]);
    return await this.#ended();
  }

  async #ended(): Promise<readonly SizeCase[]> {
    await this.#check("no run goes on for ever", async () => {
      const left = async (status: string) => (await this.#call("GET", `/v1/runs?status=${status}`)).body.data.runs.length;
      for (let second = 0; second < 20; second += 1) {
        if ((await left("running")) + (await left("queued")) === 0) return [];
        await delay(1_000);
      }
      return ["runs are left running or queued"];
    });
    await this.#check("no response is larger than one piece", async () => [
      this.largest <= onePiece || `one has ${this.largest}`,
    ]);
    return this.#cases;
  }

  async close(): Promise<void> {
    await this.#system.stop();
    await this.#model.close();
  }

  async #call(method: string, path: string, body?: object): Promise<Answer> {
    const response = await fetch(this.#system.baseUrl + path, {
      method,
      headers: { authorization: `Bearer ${this.#token}`, ...(body === undefined ? {} : { "content-type": "application/json" }) },
      body: body === undefined ? undefined : JSON.stringify(body),
      signal: AbortSignal.timeout(requestMs),
    });
    const text = await response.text();
    this.largest = Math.max(this.largest, Buffer.byteLength(text));
    return { status: response.status, body: JSON.parse(text) };
  }

  /** Records a case: `work` gives what holds as true, and complaints as text. */
  async #check(name: string, work: () => Promise<readonly (true | string)[]>): Promise<void> {
    const found = await work().catch((error: unknown) => [`it threw ${String(error).slice(0, 300)}`]);
    const complaints = found.filter((one) => one !== true);
    this.#cases.push({ name, ...(complaints.length === 0 ? {} : { complaint: complaints.join("; ") }) });
  }

  /** Requests of clients: refused by name on each protocol, or served. */
  async #doors(): Promise<void> {
    const agent = (transport: ReturnType<typeof createConnectTransport>) => createClient(AgentService, transport);
    const { baseUrl } = this.#system;
    const headers = { authorization: `Bearer ${this.#token}` };
    const clients = {
      Connect: agent(createConnectTransport({ baseUrl, httpVersion: "1.1" })),
      gRPC: agent(createGrpcTransport({ baseUrl })),
    };
    const fields = { message: maxMessage + 1, agent_type: 101, model: 201 };
    for (const [field, length] of Object.entries(fields)) {
      const long = "m".repeat(length);
      await this.#check(`REST refuses a ${field} of ${length} characters by name`, async () => {
        const { status, body } = await this.#call("POST", "/v1/conversations", { message: "Hello", [field]: long });
        const told = JSON.stringify(body.error);
        return [status === 400 || `status ${status}`, told.includes(field) || `it says ${told.slice(0, 200)}`];
      });
      for (const [protocol, client] of Object.entries(clients)) {
        await this.#check(`${protocol} refuses a ${field} of ${length} characters by name`, async () => {
          const message = field === "message" ? long : "Hello";
          const asked = {
            message,
            ...(field === "model" ? { model: long } : {}),
            ...(field === "agent_type" ? { agentType: long } : {}),
          };
          const error = await client.createConversation(asked, { headers }).then(
            () => "it was served",
            (thrown: unknown) => String(thrown),
          );
          return [(error.includes("invalid_argument") && error.includes(field)) || `it says ${error.slice(0, 200)}`];
        });
      }
    }
    await this.#check(`a message of ${maxMessage} characters is served`, async () => {
      const { status } = await this.#call("POST", "/v1/conversations", { message: "m".repeat(maxMessage) });
      return [status === 201 || `status ${status}`];
    });
    await this.#check("a body beyond SERVER_BODY_LIMIT is refused with 413", async () => {
      const { status, body } = await this.#call("POST", "/v1/conversations", { message: "m".repeat(1_100_000) });
      return [status === 413 || `status ${status}`, body.error?.code === "TOO_LARGE" || `code ${body.error?.code}`];
    });
  }

  /** Answers of models. */
  async #answers(): Promise<void> {
    const served = ["answer 100000", `answer ${maxText - 100}`, "control 300000"];
    const refused = [`answer ${maxText + 1}`, "answer 5000000", "answer 9437184", "control 1000000"];
    for (const message of [...served, ...refused]) {
      const isServed = served.includes(message);
      await this.#check(`a model's "${message}" ${isServed ? "is stored" : "ends its run with that cause"}`, async () => {
        const { status, body } = await this.#call("POST", "/v1/conversations", { message });
        const [run] = (await this.#call("GET", "/v1/runs?limit=1")).body.data.runs;
        const got = await this.#call("GET", `/v1/conversations/${run.conversation_id}`);
        const next = await this.#call("POST", `/v1/conversations/${run.conversation_id}/messages`, { message: "And now?" });
        return [
          isServed ? status === 201 || `status ${status}` : status === 502 || `status ${status}`,
          isServed || body.error?.code === "ANSWER_TOO_LARGE" || `code ${body.error?.code}`,
          run.status === (isServed ? "completed" : "failed") || `the run is ${run.status}`,
          isServed || run.error_reason === "ANSWER_TOO_LARGE" || `its reason is ${run.error_reason}`,
          got.status === 200 || `GET answers ${got.status}`,
          next.status === 200 || `the next message gets ${next.status}`,
        ];
      });
    }
    for (const [size, expected] of [
      [6_000_000, 200],
      [9_437_184, 502],
    ] as const) {
      await this.#check(`a completion of ${size} bytes gets ${expected}`, async () => {
        const messages = [{ role: "user", content: `answer ${size}` }];
        const { status } = await this.#call("POST", "/v1/chat/completions", { model: "gpt-4o-mini", messages });
        return [status === expected || `status ${status}`];
      });
    }
  }

  /** Results of tools. */
  async #results(rounds: readonly string[]): Promise<void> {
    for (const message of rounds) {
      await this.#check(`a model's "${message}" goes on to its answer`, async () => {
        const { status, body } = await this.#call("POST", "/v1/conversations", { message });
        const id = body.data?.conversation_id;
        const again = await this.#call("POST", `/v1/conversations/${id}/messages`, { message });
        const got = await this.#call("GET", `/v1/conversations/${id}`);
        return [
          (status === 201 && body.data.response === "Done.") || `status ${status}`,
          again.status === 200 || `the same again gets ${again.status}`,
          got.status === 200 || `GET answers ${got.status}`,
        ];
      });
    }
    await this.#check("a batch of direct calls with 12 MB of outputs is answered", async () => {
      const calls = Array.from({ length: 6 }, (_, at) => ({
        ...{ id: `b${at}`, type: "function" },
        function: { name: "read_file", arguments: '{"bytes":1900000}' },
      }));
      const { status, body } = await this.#call("POST", "/v1/tools/batch", calls);
      return [status === 200 || `status ${status}`, JSON.stringify(body).includes("is left out") || "nothing is left out"];
    });
  }

  /** A conversation whose messages are larger together than one piece. */
  async #longConversation(count: number): Promise<void> {
    await this.#check(`a conversation of ${count} long messages is continued, got, paged and cancelled`, async () => {
      const message = "m".repeat(190_000);
      const first = await this.#call("POST", "/v1/conversations", { message });
      const id = first.body.data.conversation_id;
      const path = `/v1/conversations/${id}/messages`;
      for (let sent = 1; sent < count; sent += 1) {
        const { status } = await this.#call("POST", path, { message });
        if (status !== 200) return [`message ${sent + 1} gets ${status}`];
      }
      const numbers: number[] = [];
      for (let pages = 0, hasMore = true; hasMore && pages <= count; pages += 1) {
        const before = numbers[0] === undefined ? "" : `&before=${numbers[0]}`;
        const asked = before === "" ? `/v1/conversations/${id}` : `${path}?limit=500${before}`;
        const { data } = (await this.#call("GET", asked)).body;
        numbers.unshift(...data.messages.map((one: { sequence_number: number }) => one.sequence_number));
        hasMore = data.has_more;
      }
      const isWhole = numbers.length === 2 * count && numbers.every((number, at) => number === at + 1);
      const runs = await this.#call("GET", `/v1/conversations/${id}/runs?limit=100`);
      const { run } = (await this.#call("POST", `/v1/conversations/${id}/runs`, { message: "hang" })).body.data;
      const isRunning = async () => (await this.#call("GET", `/v1/runs/${run.id}`)).body.data.run.status === "running";
      for (let tenth = 0; tenth < 100 && !(await isRunning()); tenth += 1) await delay(100);
      const cancelled = await this.#call("POST", `/v1/runs/${run.id}/cancel`, {});
      return [
        (cancelled.status === 200 && cancelled.body.data.run.status === "cancelled") || `cancel answers ${cancelled.status}`,
        isWhole || `${numbers.length} of ${2 * count} messages came`,
        runs.status === 200 || `its runs answer ${runs.status}`,
      ];
    });
  }

  /** A conversation with as many messages as one may have. */
  async #fullConversation(): Promise<void> {
    await this.#check("a conversation of 100,000 messages is got, paged and refuses one more", async () => {
      const { body } = await this.#call("POST", "/v1/conversations", { message: `Hello ${randomUUID()}` });
      const id = body.data.conversation_id;
      const client = new pg.Client({ connectionString: this.#databaseUrl });
      await client.connect();
      await client.query(
        `insert into conversation.messages (conversation_id, id, sequence_number, role, content)
         select $1, gen_random_uuid(), n, 'assistant', repeat('word ', 120) from generate_series(3, 100000) n`,
        [id],
      );
      await client.query("update conversation.conversations set message_count = 100000 where id = $1", [id]);
      await client.end();
      const got = await this.#call("GET", `/v1/conversations/${id}`);
      const page = await this.#call("GET", `/v1/conversations/${id}/messages?after=0&limit=500`);
      const more = await this.#call("POST", `/v1/conversations/${id}/messages`, { message: "One more" });
      return [
        (got.status === 200 && got.body.data.next_cursor !== "") || `GET answers ${got.status}`,
        (page.status === 200 && page.body.data.messages.length === 500) || `its page answers ${page.status}`,
        (more.status === 409 && more.body.error.code === "CONVERSATION_FULL") || `one more gets ${more.status}`,
      ];
    });
  }
}
