import { Agent, request } from "undici";

interface CallOptions {
  readonly token?: string;
  readonly body?: object;
  readonly headers?: Readonly<Record<string, string>>;
  readonly signal?: AbortSignal;
}

/**
 * A client that knows all gateways, keeps its connections, and tries the next gateway only when a connection is
 * refused.
 */
export function createClient(gateways: readonly string[]) {
  const agent = new Agent({ connections: 64, pipelining: 1 });
  let turn = 0;
  const send = async (method: "GET" | "POST", path: string, options: CallOptions = {}) => {
    const { token, body, signal } = options;
    const headers = {
      ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
      ...(body === undefined ? {} : { "content-type": "application/json" }),
      ...options.headers,
    };
    turn += 1;
    const first = turn;
    for (let refused = 0; ; refused += 1) {
      const origin = gateways[(first + refused) % gateways.length] ?? "";
      try {
        const text = body === undefined ? null : JSON.stringify(body);
        return await request(`${origin}${path}`, { method, headers, body: text, dispatcher: agent, signal: signal ?? null });
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== "ECONNREFUSED" || refused + 1 >= gateways.length) throw error;
      }
    }
  };
  const call = async <T>(method: "GET" | "POST", path: string, options: CallOptions = {}): Promise<T> => {
    const { statusCode, body } = await send(method, path, options);
    const text = await body.text();
    if (statusCode >= 300) throw new Error(`${statusCode} ${text.slice(0, 200)}`);
    return JSON.parse(text) as T;
  };
  return { send, call, close: () => agent.destroy() };
}

/** Client of the gateways of a mesh under load. */
export type Client = ReturnType<typeof createClient>;
