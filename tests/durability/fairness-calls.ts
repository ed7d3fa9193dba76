/** The kinds of calls with which one user floods the system. */
export const floods = ["hung", "huge"] as const;
export type Flood = (typeof floods)[number];

/** The ways in which the other user asks. */
export const surfaces = ["completion", "stream", "stored run"] as const;
export type Surface = (typeof surfaces)[number];

/** A flood for its thread. */
export interface FloodData {
  readonly baseUrl: string;
  readonly token: string;
  readonly kind: Flood;
  readonly count: number;
}

/** A request of a surface that says this; resolves once the whole answer has arrived. */
export async function ask(baseUrl: string, token: string, surface: Surface, said: string, signal?: AbortSignal): Promise<Asked> {
  const messages = [{ role: "user", content: said }];
  const [path, body] =
    surface === "stored run"
      ? ["/v1/conversations", { message: said }]
      : ["/v1/chat/completions", { model: "fair", messages, stream: surface === "stream" }];
  const response = await fetch(baseUrl + path, {
    method: "POST",
    headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
    body: JSON.stringify(body),
    signal,
  });
  for await (const _piece of response.body ?? []);
  return { status: response.status, retryAfterMs: Number(response.headers.get("retry-after") ?? 0) * 1_000 };
}

/** How a request ended; status 0: it broke off. */
export interface Asked {
  readonly status: number;
  readonly retryAfterMs: number;
}

/** A request without an answer. */
export const brokenOff: Asked = { status: 0, retryAfterMs: 0 };
