import { startAllInOne } from "../e2e/all-in-one.ts";
import { restApi } from "../e2e/api.ts";
import { endpointKey, type StrictEndpoint, startStrictEndpoint } from "./strict-endpoint.ts";

/** The model that answers. */
export const model = "gpt-strict";

/** A system with a strict endpoint, and credentials for its clients. */
export interface ClientStage {
  /** The address for OpenAI clients. */
  readonly url: string;
  /** An API key for everything. */
  readonly key: string;
  /** An API key that may use `model` only. */
  readonly limitedKey: string;
  readonly endpoint: StrictEndpoint;
  stop(): Promise<void>;
}

/** Starts the system in one process before a strict endpoint. */
export async function startClientStage(): Promise<ClientStage> {
  const endpoint = await startStrictEndpoint([model]);
  try {
    const system = await startAllInOne({ LLM_BASE_URL: endpoint.url, LLM_API_KEY: endpointKey, LLM_DEFAULT_MODEL: model });
    const url = `${system.baseUrl}/v1`;
    const api = restApi(system.baseUrl);
    await api.register("clients@example.com", "correct-horse-battery");
    const { accessToken } = await api.login("clients@example.com", "correct-horse-battery");
    const keyOf = async (body: object): Promise<string> => {
      const response = await fetch(`${url}/api-keys`, {
        method: "POST",
        headers: { authorization: `Bearer ${accessToken}`, "content-type": "application/json" },
        body: JSON.stringify({ rate_limit_per_minute: 10_000, ...body }),
      });
      const { data } = (await response.json()) as { data: { key: string } };
      return data.key;
    };
    return {
      url,
      key: await keyOf({ name: "all" }),
      limitedKey: await keyOf({ name: "limited", allowed_models: [model] }),
      endpoint,
      async stop() {
        await system.stop();
        await endpoint.close();
      },
    };
  } catch (error) {
    await endpoint.close();
    throw error;
  }
}

/** A tool of the client's own. */
export const weather = {
  name: "get_weather",
  description: "The weather of a city.",
  parameters: { type: "object", properties: { city: { type: "string" } }, required: ["city"], additionalProperties: false },
};

/** One attempt of a client, as `fetch` saw it. */
export interface Attempt {
  readonly startedAt: number;
  readonly endedAt: number;
  readonly status: number;
  /** Seconds; 0 without the header. */
  readonly retryAfter: number;
}

/** A `fetch` that records its attempts; `onAttempt` is called before the client sees the response. */
export function recordingFetch(onAttempt: (attempt: Attempt) => void): { fetch: typeof fetch; attempts: Attempt[] } {
  const attempts: Attempt[] = [];
  return {
    attempts,
    async fetch(input, init) {
      const startedAt = performance.now();
      const response = await fetch(input, init);
      const attempt = {
        startedAt,
        endedAt: performance.now(),
        status: response.status,
        retryAfter: Number(response.headers.get("retry-after") ?? 0),
      };
      attempts.push(attempt);
      onAttempt(attempt);
      return response;
    },
  };
}
