import { randomUUID } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import { type Answer, send } from "./requests.ts";

/** Webhooks that a key creates while it is being revoked. */
const atOnce = 6;

/**
 * Revokes keys that are creating webhooks, at a different moment in each round. Returns the number of webhooks created,
 * and of those still enabled `boundMs` after the last of these requests.
 */
export async function raceWebhooks(
  baseUrl: string,
  { rounds, url, boundMs }: { rounds: number; url: string; boundMs: number },
): Promise<{ made: number; left: number }> {
  const ask = (method: string, path: string, token: string, body?: object) =>
    send(baseUrl, {
      method,
      path,
      headers: token === "" ? {} : { authorization: `Bearer ${token}` },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  const data = async <T>(answer: Promise<Answer>): Promise<T> => {
    const { status, body } = await answer;
    if (status >= 300) throw new Error(`${status} ${body}`);
    return (JSON.parse(body) as { data: T }).data;
  };
  const account = { email: `${randomUUID()}@example.com`, password: "correct-horse-battery" };
  await data(ask("POST", "/v1/auth/register", "", { ...account, name: "Racer" }));
  const login = async () => (await data<{ access_token: string }>(ask("POST", "/v1/auth/login", "", account))).access_token;
  const webhooksOf = async (owner: string) =>
    (await data<{ webhooks: { id: string; enabled: boolean }[] }>(ask("GET", "/v1/webhooks", owner))).webhooks;

  let owner = await login();
  let [made, left] = [0, 0];
  for (let round = 0; round < rounds; round++) {
    // Access tokens of logins are short-lived.
    if (round % 100 === 99) owner = await login();
    const { api_key: apiKey, key } = await data<{ api_key: { id: string }; key: string }>(
      ask("POST", "/v1/api-keys", owner, { name: "racer" }),
    );
    const create = () => ask("POST", "/v1/webhooks", key, { url });
    // The first request makes the key known to the gateway, so that the others pass at once.
    await create();
    const revocation = delay(Math.random() * 20).then(() => data(ask("DELETE", `/v1/api-keys/${apiKey.id}`, owner)));
    await Promise.all([...Array.from({ length: atOnce }, create), revocation]);
    const until = performance.now() + boundMs;
    let webhooks = await webhooksOf(owner);
    while (webhooks.some(({ enabled }) => enabled) && performance.now() < until) {
      await delay(25);
      webhooks = await webhooksOf(owner);
    }
    left += webhooks.filter(({ enabled }) => enabled).length;
    made += webhooks.length;
    for (const { id } of webhooks) await data(ask("DELETE", `/v1/webhooks/${id}`, owner));
  }
  return { made, left };
}
