import { startAllInOne } from "../e2e/all-in-one.ts";

/** An operation of the document, `verb path`, with what a person fills in before they press Execute. */
export interface Attempt {
  /** Values of the path's fields, by name. */
  readonly path: Readonly<Record<string, string>>;
  /** The credential; none for operations that are open to all. */
  readonly token: string;
  /** A body in place of the example, for a secret that an example cannot know. */
  readonly body?: object;
}

/** A system of its own, with an admin and the account of the examples. */
export interface Stage {
  readonly baseUrl: string;
  readonly admin: string;
  /** Calls the API and returns `data`. Throws on failure. */
  call<T>(method: string, path: string, token: string, body?: unknown): Promise<T>;
  /** Logs the account of the examples in: you@example.com. */
  login(): Promise<Session>;
  stop(): Promise<unknown>;
}

interface Session {
  readonly access_token: string;
  readonly refresh_token: string;
}

/** The secret of the system's access tokens, for tests that sign one of their own. */
export const jwtSecret = "a-secret-of-tests-with-more-than-32-characters";

/** No request of these operations can succeed on a new system, whatever a person fills in. */
export const impossible: Readonly<Record<string, { readonly code: string; readonly why: string }>> = {
  "post /v1/runs/{run_id}/review": {
    code: "NOTHING_TO_REVIEW",
    why: "a run waits for a review only after a crash in a call of a tool with the effect `once`",
  },
};

/**
 * Starts the system. Its webhooks may reach a port without a listener, and its agents have a tool that asks for
 * approval.
 */
export async function startStage(): Promise<Stage> {
  const adminLogin = { email: "admin@example.com", password: "admin-of-the-examples" };
  const system = await startAllInOne({
    ADMIN_EMAIL: adminLogin.email,
    ADMIN_PASSWORD: adminLogin.password,
    JWT_SECRET: jwtSecret,
    RATE_LIMIT_PER_MINUTE: "10000",
    WEBHOOK_ALLOWED_HOSTS: "127.0.0.1:1",
  });
  const { baseUrl } = system;
  const call = async <T>(method: string, path: string, token: string, body?: unknown): Promise<T> => {
    const response = await fetch(`${baseUrl}${path}`, {
      method,
      headers: { "content-type": "application/json", ...(token === "" ? {} : { authorization: `Bearer ${token}` }) },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const answer = (await response.json()) as { data: T };
    if (!response.ok) throw new Error(`${method} ${path}: ${JSON.stringify(answer)}`);
    return answer.data;
  };
  const logIn = (account: object) => call<Session>("POST", "/v1/auth/login", "", account);
  return {
    baseUrl,
    admin: (await logIn(adminLogin)).access_token,
    call,
    login: () => logIn({ email: "you@example.com", password: "SecurePass123" }),
    stop: () => system.stop(),
  };
}

type Make = (stage: Stage, operation: string) => Promise<Readonly<Record<string, string>>>;

/** A message on which the demo model asks for a tool that needs approval; its address leads nowhere. */
const askToSend = { message: "Send an HTTP request to http://127.0.0.1:1/ saying hello" };
const question = { message: "What is 1337 * 42?" };

const startRun = async ({ call, admin }: Stage, message: object) => {
  const { run } = await call<{ run: { id: string; conversation_id: string } }>("POST", "/v1/runs", admin, message);
  // Ends, or waits for a decision.
  await call("GET", `/v1/runs/${run.id}/wait`, admin);
  return run;
};

const waitsForPerson = ["/approve", "/cancel", "/decision"];
/** Operations whose streams do not end by themselves. */
export const endless: ReadonlySet<string> = new Set(["get /v1/events"]);

const messageFor = (operation: string) => (waitsForPerson.some((end) => operation.endsWith(end)) ? askToSend : question);

const makeWebhook: Make = async (stage) => {
  const { call, admin } = stage;
  const { webhook } = await call<{ webhook: { id: string } }>("POST", "/v1/webhooks", admin, { url: "http://127.0.0.1:1/" });
  await startRun(stage, question);
  const page = await call<{ deliveries: { id: string }[] }>("GET", `/v1/webhooks/${webhook.id}/deliveries`, admin);
  return { webhook_id: webhook.id, delivery_id: page.deliveries[0]?.id ?? "" };
};

let accounts = 0;

/** Makes what the fields of a path name, in the state that the operation needs. */
const makers: Readonly<Record<string, Make>> = {
  conversation_id: async (stage, operation) => ({
    conversation_id: (await startRun(stage, messageFor(operation))).conversation_id,
  }),
  sequence_number: async (stage) => ({
    conversation_id: (await startRun(stage, question)).conversation_id,
    sequence_number: "1",
  }),
  run_id: async (stage, operation) => {
    const isRetry = operation.endsWith("/retry");
    const { id } = await startRun(stage, isRetry ? askToSend : messageFor(operation));
    // Only a run that failed or was cancelled is retried.
    if (isRetry) await stage.call("POST", `/v1/runs/${id}/cancel`, stage.admin, {});
    return { run_id: id };
  },
  approval_id: async (stage) => {
    const run = await startRun(stage, askToSend);
    const { approvals } = await stage.call<{ approvals: { id: string; run_id: string }[] }>("GET", "/v1/approvals", stage.admin);
    return { approval_id: approvals.find(({ run_id: id }) => id === run.id)?.id ?? "" };
  },
  webhook_id: makeWebhook,
  delivery_id: makeWebhook,
  api_key_id: async ({ call, admin }) => {
    const made = await call<{ api_key: { id: string } }>("POST", "/v1/api-keys", admin, { name: "example" });
    return { api_key_id: made.api_key.id };
  },
  session_id: async (stage) => {
    await stage.login();
    const { access_token: token } = await stage.login();
    const { sessions } = await stage.call<{ sessions: { id: string; is_current: boolean }[] }>("GET", "/v1/auth/sessions", token);
    return { session_id: sessions.find(({ is_current: current }) => !current)?.id ?? "", token };
  },
  invite_id: async ({ call, admin }) => {
    const { invite } = await call<{ invite: { id: string } }>("POST", "/v1/admin/invites", admin, {});
    return { invite_id: invite.id };
  },
  tool_name: async () => ({ tool_name: "calculator" }),
  user_id: async ({ call, admin }) => {
    accounts += 1;
    const account = { email: `user-${accounts}@example.com`, password: "SecurePass123", name: "" };
    const { user } = await call<{ user: { id: string } }>("POST", "/v1/admin/users", admin, account);
    return { user_id: user.id };
  },
};

/** The things that a person fills in for an operation: ids of things of theirs, and a credential. */
export async function attemptAt(stage: Stage, operation: string): Promise<Attempt> {
  const fields = [...operation.matchAll(/\{(\w+)\}/g)].map(([, name = ""]) => name);
  const make = makers[fields.at(-1) ?? ""];
  if (fields.length > 0 && make === undefined) throw new Error(`nothing makes the ${fields.join(" and ")} of ${operation}`);
  const { token = stage.admin, ...path } = (await make?.(stage, operation)) ?? {};
  switch (operation) {
    case "post /v1/auth/refresh":
      return { path, token, body: { refresh_token: (await stage.login()).refresh_token } };
    case "post /v1/auth/logout":
    case "post /v1/auth/password":
      return { path, token: (await stage.login()).access_token };
    default:
      return { path, token };
  }
}

const verbs = ["get", "put", "post", "delete", "patch"];

/**
 * The operations of a document in an order in which each can succeed: an account before its logins, its password last,
 * and the webhook of the examples after all runs, so that nothing is sent to its address.
 */
export function orderedOperations(document: { paths: Record<string, object> }): string[] {
  const all = Object.entries(document.paths).flatMap(([path, item]) =>
    verbs.filter((verb) => verb in item).map((verb) => `${verb} ${path}`),
  );
  const first = ["post /v1/auth/register", "post /v1/auth/login"];
  const last = ["post /v1/webhooks", "post /v1/auth/password"];
  return [...first, ...all.filter((one) => !first.includes(one) && !last.includes(one)), ...last];
}

/** The first events of a stream that goes on for as long as its client stays. */
export async function firstEvents(response: Response): Promise<string> {
  let text = "";
  for await (const piece of response.body ?? []) {
    text += Buffer.from(piece).toString();
    if (text.includes("\n\n")) break;
  }
  return text;
}
