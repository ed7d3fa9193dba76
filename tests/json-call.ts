/** JSON of any surface, whose fields tests read by their names. */
// biome-ignore lint/suspicious/noExplicitAny: its shape is what the tests check
export type Json = any;

/** The answer of a route; text that is not JSON stays text. */
export interface JsonAnswer {
  readonly status: number;
  readonly body: Json;
}

/** Calls a route with the caller's credential, if there is one. A string is a body that is JSON already. */
export type JsonCall = (verb: string, path: string, body?: object | string) => Promise<JsonAnswer>;

/** Calls routes of a system. The address and the token are asked for at each call. */
export function jsonCaller(baseUrl: () => string, token: () => string | undefined): JsonCall {
  return async (verb, path, body) => {
    const bearer = token();
    const response = await fetch(baseUrl() + path, {
      method: verb,
      headers: {
        ...(bearer === undefined ? {} : { authorization: `Bearer ${bearer}` }),
        ...(body === undefined ? {} : { "content-type": "application/json" }),
      },
      body: body === undefined || typeof body === "string" ? body : JSON.stringify(body),
    });
    const text = await response.text();
    return { status: response.status, body: text.startsWith("{") ? JSON.parse(text) : text };
  };
}
