import { type Account, closedUrl, type Stage } from "./stage.ts";

/** A tenant's resource for others to attack. */
export interface TenantResource {
  readonly id: string;
  /** Other fields that a request for it needs, by name. */
  readonly beside?: Readonly<Record<string, string>>;
  /** The resource as its owner sees it. */
  look(): Promise<unknown>;
}

const conversation = async (stage: Stage, { accessToken }: Account, message: string): Promise<TenantResource> => {
  const made = await stage.call<{ conversation_id: string }>("POST", "/v1/conversations", accessToken, { message });
  const id = made.conversation_id;
  return { id, look: () => stage.call("GET", `/v1/conversations/${id}`, accessToken) };
};

const run = async (stage: Stage, { accessToken }: Account, message: string): Promise<TenantResource> => {
  const made = await stage.call<{ run: { id: string } }>("POST", "/v1/runs", accessToken, { message });
  const { id } = made.run;
  const look = () => stage.call("GET", `/v1/runs/${id}/wait`, accessToken);
  // Waits until the run no longer changes anything itself.
  await look();
  return { id, look };
};

/** A webhook to a port without a listener, with an event of a turn, whose delivery therefore stays pending. */
const webhook = async (stage: Stage, owner: Account, wanted: "webhook_id" | "delivery_id"): Promise<TenantResource> => {
  const ask = <T>(path: string) => stage.call<T>("GET", path, owner.accessToken);
  const made = await stage.call<{ webhook: { id: string } }>("POST", "/v1/webhooks", owner.accessToken, { url: closedUrl });
  await conversation(stage, owner, "What is 6 * 7?");
  const path = `/v1/webhooks/${made.webhook.id}`;
  const deliveries = async () => {
    const page = await ask<{ deliveries: { id: string; event: string; status: string }[] }>(`${path}/deliveries`);
    // Delivery attempts continue meanwhile.
    return page.deliveries.map(({ id, event, status }) => ({ id, event, status }));
  };
  const ids = { webhook_id: made.webhook.id, delivery_id: (await deliveries())[0]?.id ?? "" };
  const look = async () => {
    const { webhook } = await ask<{ webhook: Record<string, unknown> }>(path);
    return [{ ...webhook, last_failure_at: undefined }, await deliveries()];
  };
  return { id: ids[wanted], beside: ids, look };
};

/**
 * How a tenant creates the resource that a field names; several ways where its state matters. A new method whose
 * requests name another kind of resource needs a line here, or the matrix fails.
 */
export const resourceKinds: Readonly<Record<string, readonly ((stage: Stage, owner: Account) => Promise<TenantResource>)[]>> = {
  conversation_id: [
    (stage, owner) => conversation(stage, owner, "What is 6 * 7?"),
    // Waits for an approval, so that there is a call to approve.
    (stage, owner) => conversation(stage, owner, "Send an HTTP request to http://example.com/ saying hello"),
  ],
  run_id: [
    (stage, owner) => run(stage, owner, "What is 6 * 7?"),
    // Waits for an approval, so that there is a run to cancel and to watch.
    (stage, owner) => run(stage, owner, "Send an HTTP request to http://example.com/ saying hello"),
  ],
  approval_id: [
    async (stage, owner) => {
      const message = "Send an HTTP request to http://example.com/ saying hello";
      await conversation(stage, owner, message);
      const { approvals } = await stage.call<{ approvals: { id: string }[] }>("GET", "/v1/approvals", owner.accessToken);
      const id = approvals[0]?.id ?? "";
      return { id, look: () => stage.call("GET", `/v1/approvals/${id}`, owner.accessToken) };
    },
  ],
  // Tools belong to no tenant.
  tool_name: [],
  // A filter of lists, which hold the caller's runs alone.
  token_id: [],
  webhook_id: [(stage, owner) => webhook(stage, owner, "webhook_id")],
  delivery_id: [(stage, owner) => webhook(stage, owner, "delivery_id")],
  api_key_id: [
    async (stage, owner) => {
      const made = await stage.call<{ api_key: { id: string }; key: string }>("POST", "/v1/api-keys", owner.accessToken, {
        name: "mine",
      });
      const { id } = made.api_key;
      return {
        id,
        async look() {
          const { api_keys: keys } = await stage.call<{ api_keys: { id: string; last_used_at?: string }[] }>(
            "GET",
            "/v1/api-keys",
            owner.accessToken,
          );
          const found = keys.find((key) => key.id === id);
          // Looking means using the key: that it still works is part of what must not change.
          const me = await stage.call("GET", "/v1/auth/me", made.key);
          return { key: { ...found, last_used_at: undefined }, me };
        },
      };
    },
  ],
  session_id: [
    async (stage, owner) => {
      const other = await stage.login(owner);
      return {
        id: other.sessionId,
        look: () => stage.call("GET", "/v1/auth/me", other.accessToken),
      };
    },
  ],
  invite_id: [
    async (stage) => {
      const { accessToken } = stage.admin;
      const made = await stage.call<{ invite: { id: string } }>("POST", "/v1/admin/invites", accessToken, {});
      const { id } = made.invite;
      return {
        id,
        async look() {
          const { invites } = await stage.call<{ invites: { id: string }[] }>("GET", "/v1/admin/invites?limit=200", accessToken);
          return invites.find((invite) => invite.id === id);
        },
      };
    },
  ],
  user_id: [
    async (stage) => {
      const account = await stage.account();
      return {
        id: account.userId,
        look: async () => [
          await stage.call("GET", `/v1/admin/users/${account.userId}`, stage.admin.accessToken),
          await stage.call("GET", "/v1/auth/me", account.accessToken),
        ],
      };
    },
  ],
};

/** Methods that are public on purpose. */
export const publicMethods: readonly string[] = [
  "AuthService.Register",
  "AuthService.Login",
  "AuthService.Refresh",
  "TokenService.GetJwks",
  "InfoService.GetInfo",
];
