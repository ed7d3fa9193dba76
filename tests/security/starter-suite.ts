import { createClient } from "@connectrpc/connect";
import { createConnectTransport, createGrpcTransport, createGrpcWebTransport } from "@connectrpc/connect-node";
import { AgentService } from "@turnwright/contract/agent/v1/agent_service";
import { beforeAll, beforeEach, describe, expect, test } from "vitest";
import type { StarterStage } from "./starter-stage.ts";

const never = new Promise<never>(() => {});
/** Cost of one call of the scripted model, in US dollars. */
const costOfCall = 0.00006;

/** The tests of one shape: a run keeps the identity of its starter. The last ones kill processes of the stage. */
export function testStarter(shape: "all-in-one" | "mesh", given: () => StarterStage): void {
  let stage: StarterStage;
  /** A parked run whose access token expires while the first tests run. */
  let expiring: { people: Team } & LoginRun;
  beforeAll(async () => {
    stage = given();
    const people = await team();
    expiring = { people, ...(await startByLogin(people, `later ${shape}`, 5_000)) };
  }, 120_000);
  beforeEach(() => stage.onEffect(async () => {}));

  let people = 0;
  /** An owner with all rights, and their key, which may use `http_request` only, up to a spend ceiling. */
  async function team() {
    const account = { email: `owner-${++people}@example.com`, password: "SecurePass123" };
    expect((await stage.send("POST", "/v1/auth/register", undefined, { ...account, name: "O" })).status).toBe(201);
    /** Opens a new session; returns its access token. */
    const login = async () => (await stage.send("POST", "/v1/auth/login", undefined, account)).body.data.access_token as string;
    const session = await login();
    const asOwner = (verb: string, path: string, body?: object) => stage.send(verb, path, session, body);
    const makeKey = async (rest: object = {}) => {
      const { data } = (await asOwner("POST", "/v1/api-keys", { name: "k", ...rest })).body;
      return { id: data.api_key.id as string, secret: data.key as string };
    };
    const key = await makeKey({ allowed_tools: ["http_request"], spend_limit_usd: 1 });
    const asKey = (verb: string, path: string, body?: object) => stage.send(verb, path, key.secret, body);
    const runOf = async (id: string) => (await asOwner("GET", `/v1/runs/${id}`)).body.data.run;
    const latestRun = async (conversationId: string) =>
      (await asOwner("GET", `/v1/conversations/${conversationId}/runs`)).body.data.runs[0];
    const spent = async () => {
      const keys: { id: string; spent_usd: number }[] = (await asOwner("GET", "/v1/api-keys")).body.data.api_keys;
      return keys.find(({ id }) => id === key.id)?.spent_usd;
    };
    const payers = async () => {
      const { usage } = (await asOwner("GET", "/v1/usage")).body.data;
      return (usage as { token_id: string; requests: number }[]).map(({ token_id, requests }) => [token_id, Number(requests)]);
    };
    return { login, asOwner, makeKey, key, asKey, runOf, latestRun, spent, payers };
  }
  type Team = Awaited<ReturnType<typeof team>>;

  const sending = (body: string) => ({
    calls: [{ id: "send", name: "http_request", arguments: JSON.stringify({ url: stage.effects.url, method: "POST", body }) }],
  });
  const asking = (name: string) => ({ calls: [{ id: `ask_${name}`, name, arguments: '{"code":"1","expression":"1"}' }] });
  /** The tools offered to the model, per request. */
  const offered = (from: number) =>
    stage.model.requests
      .slice(from)
      .filter(({ method }) => method === "POST")
      .map(({ body }) => (body.tools as { function: { name: string } }[]).map((tool) => tool.function.name));
  const lastMessage = (index: number) => String(stage.model.requests[index]?.body.messages.at(-1)?.content);
  const effectsOf = (body: string) => stage.effects.bodies.filter((one) => one === body).length;

  /** Starts a run of the key that waits for a person. */
  async function parked({ asKey, latestRun }: Team, body: string) {
    stage.model.reply(sending(body));
    const { data } = (await asKey("POST", "/v1/conversations", { message: "Go on" })).body;
    expect(data.response).toBe("pending_approval");
    return { conversationId: data.conversation_id as string, runId: (await latestRun(data.conversation_id)).id as string };
  }

  /** Starts a run of a login, whose access token expires after `lifetimeMs` if given, that waits for a person. */
  async function startByLogin({ login, latestRun }: Team, body: string, lifetimeMs?: number) {
    const token = lifetimeMs === undefined ? await login() : await stage.accessToken(await login(), lifetimeMs);
    stage.model.reply(sending(body));
    const { data } = (await stage.send("POST", "/v1/conversations", token, { message: "Go on" })).body;
    expect(data.response).toBe("pending_approval");
    return { token, conversationId: data.conversation_id as string, run: await latestRun(data.conversation_id) };
  }
  type LoginRun = Awaited<ReturnType<typeof startByLogin>>;

  /** Approves on one of the surfaces. */
  async function decideBy(how: string, login: Team["login"], ids: { conversationId: string; approvalId: string }) {
    const token = await login();
    const path =
      how === "approve" ? `/v1/conversations/${ids.conversationId}/approve` : `/v1/approvals/${ids.approvalId}/decision`;
    if (how === "approve" || how === "decision") return (await stage.send("POST", path, token, { approved: true })).body.data;
    const baseUrl = stage.url();
    const transport =
      how === "gRPC"
        ? createGrpcTransport({ baseUrl })
        : how === "gRPC-web"
          ? createGrpcWebTransport({ baseUrl, httpVersion: "1.1" })
          : createConnectTransport({ baseUrl, httpVersion: "1.1" });
    const options = { headers: { authorization: `Bearer ${token}` } };
    return await createClient(AgentService, transport).decideApproval({ approvalId: ids.approvalId, approved: true }, options);
  }

  describe("started by a key and decided by its owner", () => {
    test.each(["approve", "decision", "Connect", "gRPC", "gRPC-web"])(
      "continues with the key's tools at the key's expense (%s)",
      async (how) => {
        const { asOwner, key, runOf, spent, payers, ...rest } = await team();
        const body = `order ${how} ${shape}`;
        const from = stage.model.requests.length;
        const { conversationId, runId } = await parked({ asOwner, key, runOf, spent, payers, ...rest }, body);
        const [approval] = (await asOwner("GET", "/v1/approvals")).body.data.approvals;
        stage.model.reply(asking("run_javascript"), asking("calculator"), { text: "Done." });
        expect(await decideBy(how, rest.login, { conversationId, approvalId: approval.id })).toMatchObject({
          status: "approved",
          response: "Done.",
        });
        expect(effectsOf(body)).toBe(1);
        expect(offered(from)).toEqual(Array(4).fill(["http_request"]));
        for (const at of [from + 2, from + 3]) expect(lastMessage(at)).toContain("error");
        await expect.poll(spent, { timeout: 10_000 }).toBeCloseTo(4 * costOfCall, 8);
        await expect.poll(payers, { timeout: 10_000 }).toEqual([[key.id, 4]]);
        expect(await runOf(runId)).toMatchObject({ status: "completed", token_id: key.id });
        const { approval: record } = (await asOwner("GET", `/v1/approvals/${approval.id}`)).body.data;
        expect(record).toMatchObject({ status: "approved", decided_by_token_type: "session" });
        expect([key.id, ""]).not.toContain(record.decided_by_token_id);
      },
    );

    test.each([true, false])(
      "ends with the cause when the key was revoked meanwhile, and runs nothing (approved: %s)",
      async (approved) => {
        const people = await team();
        const body = `revoked ${approved} ${shape}`;
        const { conversationId, runId } = await parked(people, body);
        const asked = stage.model.requests.length;
        expect((await people.asOwner("DELETE", `/v1/api-keys/${people.key.id}`)).status).toBe(200);
        const decided = await people.asOwner("POST", `/v1/conversations/${conversationId}/approve`, { approved });
        const message = "The API key that started this run was revoked.";
        expect(decided).toMatchObject({ status: 409, body: { error: { code: "RUN_CREDENTIAL_ENDED", message } } });
        expect(await people.runOf(runId)).toMatchObject({ status: "failed", error: message });
        expect(effectsOf(body)).toBe(0);
        expect(stage.model.requests).toHaveLength(asked);
        // The conversation is free for other credentials.
        stage.model.reply({ text: "Hello." });
        const next = await people.asOwner("POST", `/v1/conversations/${conversationId}/messages`, { message: "And now?" });
        expect(next.body.data.response).toBe("Hello.");
      },
    );

    test("ends when the key is revoked while its tool runs, and tells the decider that another credential ended", async () => {
      const people = await team();
      const { conversationId, runId } = await parked(people, `cut ${shape}`);
      stage.onEffect(async () => {
        await people.asOwner("DELETE", `/v1/api-keys/${people.key.id}`);
        await never;
      });
      const decided = await people.asOwner("POST", `/v1/conversations/${conversationId}/approve`, { approved: true });
      expect(decided).toMatchObject({ status: 409, body: { error: { code: "RUN_CREDENTIAL_ENDED" } } });
      await expect.poll(async () => (await people.runOf(runId)).status, { timeout: 10_000 }).toBe("failed");
    });

    test.each(["logs out", "is revoked", "goes away"])("continues to its end when its decider %s", async (how) => {
      const people = await team();
      const body = `left ${how} ${shape}`;
      const { conversationId, runId } = await parked(people, body);
      const deciding = how === "is revoked" ? await people.makeKey() : { id: "", secret: await people.login() };
      const gone = new AbortController();
      const begun = Promise.withResolvers<void>();
      const done = Promise.withResolvers<void>();
      stage.onEffect(() => {
        begun.resolve();
        return done.promise;
      });
      stage.model.reply({ text: "Done." });
      const path = `/v1/conversations/${conversationId}/approve`;
      const decided = stage.send("POST", path, deciding.secret, { approved: true }, gone.signal).catch(() => ({ status: 0 }));
      await begun.promise;
      if (how === "is revoked") await people.asOwner("DELETE", `/v1/api-keys/${deciding.id}`);
      if (how === "logs out") await stage.send("POST", "/v1/auth/logout", deciding.secret);
      if (how === "goes away") gone.abort();
      // The decider's request only watched the run: it ends with its own credential, and the run continues.
      expect((await decided).status).toBe(how === "goes away" ? 0 : 401);
      done.resolve();
      await expect.poll(async () => (await people.runOf(runId)).status, { timeout: 15_000 }).toBe("completed");
      expect(effectsOf(body)).toBe(1);
    });
  });

  describe("started by a login", () => {
    test("outlives its access token and continues", async () => {
      const { people, token, conversationId, run } = expiring;
      const status = () => stage.send("GET", "/v1/tools", token).then((answer) => answer.status);
      await expect.poll(status, { timeout: 20_000, interval: 250 }).toBe(401);
      stage.model.reply({ text: "Done." });
      const decided = await people.asOwner("POST", `/v1/conversations/${conversationId}/approve`, { approved: true });
      expect(decided.body.data).toMatchObject({ status: "approved", response: "Done." });
      expect((await people.runOf(run.id)).token_id).toBe(run.token_id);
    });

    test("ends once that login has logged out", async () => {
      const people = await team();
      const { token, conversationId, run } = await startByLogin(people, `out ${shape}`);
      expect((await stage.send("POST", "/v1/auth/logout", token)).status).toBe(200);
      const decided = await people.asOwner("POST", `/v1/conversations/${conversationId}/approve`, { approved: true });
      const message = "The login that started this run has ended: its session was ended.";
      expect(decided).toMatchObject({ status: 409, body: { error: { code: "RUN_CREDENTIAL_ENDED", message } } });
      expect(await people.runOf(run.id)).toMatchObject({ status: "failed", error: message });
      expect(effectsOf(`out ${shape}`)).toBe(0);
    });
  });

  describe("that continues elsewhere or later", () => {
    test("keeps its identity in the background and behind a message of another credential", async () => {
      const people = await team();
      const gate = Promise.withResolvers<void>();
      const from = stage.model.requests.length;
      stage.model.reply({ text: "one two", pauseAfter: { pieces: 1, gate: gate.promise } }, { text: "Three." });
      const first = await people.asOwner("POST", "/v1/runs", { message: "Count" });
      await stage.model.request(from);
      const { conversation_id: conversationId } = first.body.data.run;
      const second = await people.asKey("POST", `/v1/conversations/${conversationId}/runs`, { message: "Go on" });
      expect(second).toMatchObject({ status: 202, body: { data: { run: { status: "queued", token_id: people.key.id } } } });
      gate.resolve();
      await stage.model.request(from + 1);
      expect(offered(from)[0]).toContain("run_javascript");
      expect(offered(from)[1]).toEqual(["http_request"]);
      await expect.poll(async () => (await people.runOf(second.body.data.run.id)).status, { timeout: 15_000 }).toBe("completed");
    });

    test("keeps its identity after it interrupted the run of another credential, which keeps its own", async () => {
      const people = await team();
      const from = stage.model.requests.length;
      stage.model.reply({ text: "one two", pauseAfter: { pieces: 1, gate: never } }, { text: "Mine." });
      const first = await people.asKey("POST", "/v1/runs", { message: "Count" });
      await stage.model.request(from);
      const { id, conversation_id: conversationId } = first.body.data.run;
      const interrupting = { message: "Stop", concurrency: "interrupt" };
      const answer = await people.asOwner("POST", `/v1/conversations/${conversationId}/messages`, interrupting);
      expect(answer.body.data.response).toBe("Mine.");
      expect(offered(from)[0]).toEqual(["http_request"]);
      expect(offered(from)[1]).toContain("run_javascript");
      expect(await people.runOf(id)).toMatchObject({ status: "cancelled", token_id: people.key.id });
      await expect
        .poll(async () => (await people.payers()).filter(([id]) => id !== people.key.id), { timeout: 10_000 })
        .toHaveLength(1);
    });
  });

  describe("whose processes were killed", () => {
    let answering: { people: Team; runId: string; from: number };
    let acting: { people: Team; runId: string; decided: Promise<unknown> };
    // One crash hits both runs: each has its own owner, and a run in review asks the model nothing.
    beforeAll(async () => {
      const begun = Promise.withResolvers<void>();
      stage.onEffect(async () => {
        begun.resolve();
        await never;
      });
      const actor = await team();
      const { conversationId, runId } = await parked(actor, `once ${shape}`);
      const path = `/v1/conversations/${conversationId}/approve`;
      acting = { people: actor, runId, decided: actor.asOwner("POST", path, { approved: true }).catch(() => {}) };
      await begun.promise;
      const people = await team();
      const from = stage.model.requests.length;
      stage.model.reply({ text: "one two", pauseAfter: { pieces: 1, gate: never } }, { text: "Again." });
      const { run } = (await people.asKey("POST", "/v1/runs", { message: "Count" })).body.data;
      answering = { people, runId: run.id, from };
      await stage.model.request(from);
      await stage.crash();
    }, 60_000);

    test("is answered again with the key's tools, after a kill in the middle of the answer", async () => {
      const { people, runId, from } = answering;
      await expect.poll(async () => (await people.runOf(runId)).status, { timeout: 30_000 }).toBe("completed");
      expect(offered(from)).toEqual([["http_request"], ["http_request"]]);
      expect((await people.runOf(runId)).token_id).toBe(people.key.id);
    }, 60_000);

    test("continues with the key's tools once its owner has reviewed it, after a kill in an approved call", async () => {
      const { people, runId, decided } = acting;
      await expect.poll(async () => (await people.runOf(runId)).status, { timeout: 40_000 }).toBe("needs_review");
      await decided;
      const from = stage.model.requests.length;
      stage.model.reply({ text: "Looked." });
      const calls = [{ call_id: "send", outcome: "completed", output: { id: 1 } }];
      expect((await people.asOwner("POST", `/v1/runs/${runId}/review`, { calls })).status).toBe(200);
      await expect.poll(async () => (await people.runOf(runId)).status, { timeout: 15_000 }).toBe("completed");
      expect(offered(from)).toEqual([["http_request"]]);
      expect(effectsOf(`once ${shape}`)).toBe(1);
      await expect.poll(people.payers, { timeout: 10_000 }).toEqual([[people.key.id, 2]]);
    }, 90_000);
  });
}
