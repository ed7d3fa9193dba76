import type { Account, ConsoleStage } from "./console-stage.ts";

/** The environment of a system whose first account is an admin. */
export const adminEnvironment = { ADMIN_EMAIL: "admin@shop.test", ADMIN_PASSWORD: "correct-horse-battery" };

/** Fills a system with something to see, and lists the paths of all pages of the console. */
export async function preparePages(stage: ConsoleStage): Promise<{ account: Account; pages: readonly string[] }> {
  const account = { email: adminEnvironment.ADMIN_EMAIL, password: adminEnvironment.ADMIN_PASSWORD };
  const { access_token: token } = await stage.call<{ access_token: string }>("POST", "/v1/auth/login", "", account);
  const call = <T>(method: string, path: string, body?: unknown) => stage.call<T>(method, path, token, body);
  const asked = await call<{ conversation_id: string }>("POST", "/v1/conversations", { message: "What is 1337 * 42?" });
  await call("POST", "/v1/conversations", { message: "Send an HTTP request to http://127.0.0.1:1/ saying hello" });
  const { api_key: key } = await call<{ api_key: { id: string } }>("POST", "/v1/api-keys", { name: "ci", spend_limit_usd: 5 });
  await call("POST", "/v1/api-keys", { name: "other" });
  const { webhook } = await call<{ webhook: { id: string } }>("POST", "/v1/webhooks", { url: "https://example.com/" });
  await call("PATCH", `/v1/webhooks/${webhook.id}`, { enabled: false });
  await call("POST", "/v1/admin/invites", {});
  const { users } = await call<{ users: { id: string }[] }>("GET", "/v1/admin/users");
  const { runs } = await call<{ runs: { id: string }[] }>("GET", "/v1/runs");
  const pages = [
    "chat",
    `chat/${asked.conversation_id}`,
    "inbox",
    "inbox?show=decided",
    "runs",
    ...runs.map(({ id }) => `runs/${id}`),
    `runs/${runs[0]?.id}?tab=events`,
    `runs/${runs[0]?.id}?tab=messages`,
    "agents",
    "agents/general",
    "tools",
    "tools/calculator",
    "keys",
    "keys/new",
    `keys/${key.id}`,
    "usage",
    "webhooks",
    "webhooks/new",
    `webhooks/${webhook.id}`,
    "account",
    "admin/users",
    `admin/users/${users[0]?.id}`,
    "admin/invites",
    "admin/signing-keys",
    "admin/audit",
    "admin/system",
    "nowhere",
  ];
  return { account: { ...account, token }, pages };
}
