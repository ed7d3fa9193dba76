import { once } from "node:events";
import type { JsonValue } from "@bufbuild/protobuf";
import { internalTokenHeader } from "@turnwright/platform/identity/identity";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { alice, type Fixture, startFixture } from "../../testing/gateway.ts";
import { librarian } from "../../testing/librarian.ts";
import { compileLibrary } from "../../testing/library.ts";

const library = compileLibrary();
const shelf = "0190a000-0000-7000-8000-00000000000a";

type Fields = Record<string, unknown>;

let gateway: Fixture;
beforeAll(async () => {
  gateway = await startFixture({ mounts: [librarian(library)] });
});
afterAll(() => gateway.close());

const post = (path: string, body: string | undefined, headers: Record<string, string> = {}) =>
  gateway.fetch(path, { method: "POST", body, headers: { "content-type": "application/json", ...headers } });

async function errorOf(response: Response): Promise<{ message: string; type: string; param: string | null; code: string }> {
  const answer = (await response.json()) as { success: boolean; error: never };
  expect(answer.success).toBe(false);
  expect(response.headers.get("content-type")).toMatch(/^application\/json/);
  return answer.error;
}

describe("a service that the gateway has never seen, on REST", () => {
  test("answers in the envelope, with proto names and every field", async () => {
    const response = await gateway.fetch(`/v1/shelves/${shelf}/books?words=sea&words=whale&page_size=2&with_lent=true`);
    expect(response.status).toBe(200);
    const answer = (await response.json()) as { success: boolean; data: { books: Fields[] } };
    expect(answer).toMatchObject({ success: true, data: { total: 1, next_cursor: null } });
    expect(answer.data.books[0]).toMatchObject({
      title: "Emma",
      printed_at: "1970-01-01T00:00:00.000Z",
      staples: 2,
      authors: [],
      original: null,
    });
    expect(gateway.calls.at(-1)?.message).toMatchObject({ shelfId: shelf, words: ["sea", "whale"], pageSize: 2, withLent: true });
  });

  test("forwards identity, request id and trace context, and no other client header", async () => {
    const traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    await gateway.fetch(`/v1/shelves/${shelf}/books`, {
      headers: {
        traceparent,
        tracestate: "a=1",
        "x-request-id": "request-7",
        [internalTokenHeader]: "forged",
        "x-turnwright-service": "forged",
        "x-turnwright-client-address": "192.0.2.1",
        cookie: "a=b",
      },
    });
    expect(Object.fromEntries(gateway.calls.at(-1)?.header ?? [])).toEqual({
      [internalTokenHeader]: `internal-of-${alice.userId}`,
      "x-request-id": "request-7",
      "x-turnwright-client-address": "127.0.0.1",
      traceparent,
      tracestate: "a=1",
    });
  });

  test("refuses a body that nests deeper than 32 levels", async () => {
    const nested = (depth: number) => `{"title":${"[".repeat(depth - 1)}${"]".repeat(depth - 1)}}`;
    const post = (body: string) =>
      gateway.fetch(`/v1/shelves/${shelf}/books/1`, { method: "PUT", headers: { "content-type": "application/json" }, body });
    const tooDeep = await post(nested(33));
    expect(tooDeep.status).toBe(400);
    expect(await tooDeep.json()).toMatchObject({ error: { message: "body: nests deeper than 32 levels" } });
    expect(JSON.stringify(await (await post(nested(32))).json())).not.toContain("nests deeper");
  });

  test("does not forward a malformed trace context", async () => {
    await gateway.fetch(`/v1/shelves/${shelf}/books`, { headers: { traceparent: "00-\u00e9-1", tracestate: "a=1" } });
    expect(gateway.calls.at(-1)?.header.has("traceparent")).toBe(false);
    expect(gateway.calls.at(-1)?.header.has("tracestate")).toBe(false);
  });

  test("binds a body to its field, answers with a field and the annotated status", async () => {
    const response = await gateway.fetch(`/v1/shelves/${shelf}/books/3?force=true`, {
      method: "PUT",
      headers: { "content-type": "application/json; charset=utf-8" },
      body: JSON.stringify({ title: "Persuasion", pages: 249 }),
    });
    expect(response.status).toBe(202);
    expect(await response.json()).toMatchObject({ success: true, data: { title: "Persuasion", pages: 249, weight: 0 } });
    expect(gateway.calls.at(-1)?.message).toMatchObject({ place: 3, force: true });
  });

  test("answers without the envelope where annotated, and writes structs as they are", async () => {
    const response = await gateway.fetch("/v1/rules");
    expect(await response.json()).toEqual({ rules: [{ maxLoans: 3, camelCase: null }], note: "quiet" });
  });

  test("answers with the text of a field where annotated, for download and never for display", async () => {
    const response = await gateway.fetch("/v1/copies/1");
    expect(response.status).toBe(200);
    expect(await response.text()).toBe("<script>1</script>ß");
    expect(Object.fromEntries(response.headers)).toMatchObject({
      "content-type": "text/plain; charset=utf-8",
      "content-disposition": 'attachment; filename="whole_text.txt"',
      "x-content-type-options": "nosniff",
    });
    const empty = await gateway.fetch("/v1/copies/none");
    expect([empty.status, await empty.text()]).toEqual([200, ""]);
  });

  test("serves HEAD for GET, without a body", async () => {
    const response = await gateway.fetch("/v1/rules", { method: "HEAD" });
    expect(response.status).toBe(200);
    expect(await response.text()).toBe("");
  });

  test("treats a missing body as an empty one", async () => {
    for (const response of [
      await post("/v1/readings", undefined),
      await post("/v1/readings", ""),
      await fetch(`${gateway.url}/v1/readings`, { method: "POST" }),
    ]) {
      expect(await response.json()).toEqual({ success: true, data: { word: "", place: 0, book: null, mark: "" } });
    }
  });

  test("never serves a method for services of the mesh", async () => {
    expect((await errorOf(await gateway.fetch("/v1/inventory"))).code).toBe("NOT_FOUND");
  });

  test("serves a public method without credentials, and requires them for a user method", async () => {
    expect((await fetch(`${gateway.url}/v1/rules`)).status).toBe(200);
    const response = await fetch(`${gateway.url}/v1/shelves/${shelf}/books`);
    expect(response.status).toBe(401);
    expect(response.headers.get("www-authenticate")).toBe("Bearer");
    expect((await errorOf(response)).code).toBe("UNAUTHORIZED");
  });

  test("checks credentials before it reads the body", async () => {
    const response = await fetch(`${gateway.url}/v1/shelves/${shelf}/books/1`, {
      method: "PUT",
      headers: { "content-type": "application/json" },
      body: "{",
    });
    expect((await errorOf(response)).code).toBe("UNAUTHORIZED");
  });
});

describe("errors on REST", () => {
  test("names a bad id of the path INVALID_ID", async () => {
    const response = await gateway.fetch("/v1/shelves/upstairs/books");
    expect(response.status).toBe(400);
    expect(await errorOf(response)).toMatchObject({ code: "INVALID_ID", param: "shelf_id", type: "invalid_request_error" });
  });

  test("names a bad query parameter", async () => {
    const response = await gateway.fetch(`/v1/shelves/${shelf}/books?page_size=many`);
    expect(response.status).toBe(400);
    expect(await errorOf(response)).toMatchObject({ code: "INVALID_REQUEST", param: "page_size" });
  });

  test.each(["{", "[1]", '"text"', "null", '{"text":5}', '{"text":"a"'])("answers 400 to the body %s", async (body) => {
    const response = await post("/v1/readings", body);
    expect(response.status).toBe(400);
    expect((await errorOf(response)).code).toBe("INVALID_REQUEST");
  });

  test("reports the field and the expected value", async () => {
    const error = await errorOf(await post("/v1/readings", '{"text":5}'));
    expect(error).toMatchObject({ message: "text: expected string, got 5", param: "text" });
  });

  test("reports all faults at once: unknown names, other types and broken rules", async () => {
    const error = await errorOf(await post("/v1/readings", '{"text":5,"kind":"KIND_POEM","txt":"a"}'));
    expect(error).toMatchObject({ code: "INVALID_REQUEST", param: "text" });
    expect((error as { faults?: { param: string }[] }).faults?.map(({ param }) => param)).toEqual(["text", "kind", "txt"]);
    const response = await gateway.fetch("/v1/shelves/upstairs/books?page_sise=3");
    expect(await errorOf(response)).toMatchObject({
      code: "INVALID_REQUEST",
      message: "page_sise: unknown parameter; did you mean page_size?; shelf_id: must be a valid UUID",
    });
  });

  test("answers 415 to another media type, and to a body of none", async () => {
    expect((await errorOf(await post("/v1/readings", "a=b", { "content-type": "text/plain" }))).code).toBe(
      "UNSUPPORTED_MEDIA_TYPE",
    );
    const untyped = await fetch(`${gateway.url}/v1/readings`, { method: "POST", body: new Uint8Array([123, 125]) });
    expect(untyped.status).toBe(415);
  });

  test("answers 413 to a body over the limit", async () => {
    const response = await post("/v1/readings", JSON.stringify({ text: "x".repeat(1_048_576) }));
    expect(response.status).toBe(413);
    expect((await errorOf(response)).code).toBe("TOO_LARGE");
  });

  test("maps a reason with a code of its own, and the endpoint's code where it has none", async () => {
    const missing = await gateway.fetch(`/v1/shelves/${shelf}/books?words=missing`);
    expect(missing.status).toBe(404);
    expect(await errorOf(missing)).toEqual({
      message: "No such shelf.",
      type: "invalid_request_error",
      param: null,
      code: "NOT_FOUND",
    });
    const own = await gateway.fetch(`/v1/shelves/${shelf}/books?words=own`);
    expect(own.status).toBe(500);
    expect(await errorOf(own)).toMatchObject({ message: "The ladder broke.", code: "SHELF_ERROR" });
  });

  test("reports Retry-After in whole seconds", async () => {
    const response = await gateway.fetch(`/v1/shelves/${shelf}/books?words=busy`);
    expect(response.status).toBe(429);
    expect(response.headers.get("retry-after")).toBe("7");
  });

  test("hides the message of an unexpected error", async () => {
    const response = await gateway.fetch(`/v1/shelves/${shelf}/books?words=bug`);
    expect(response.status).toBe(500);
    const error = await errorOf(response);
    expect(error).toMatchObject({ code: "INTERNAL_ERROR", type: "server_error" });
    expect(JSON.stringify(error)).not.toContain("secret");
  });
});

describe("streams on REST", () => {
  const events = async (response: Response) => (await response.text()).split("\n\n").filter((event) => event !== "");
  const stream = (text: string, headers: Record<string, string> = {}, more: Fields = {}) =>
    post("/v1/readings", JSON.stringify({ text, ...more }), headers);

  test.each<[string, Record<string, string>, Fields]>([
    ["Accept: text/event-stream", { accept: "application/json, text/event-stream" }, {}],
    ['"stream": true', {}, { stream: true }],
  ])("chooses the stream by %s and ends it with [DONE]", async (_how, headers, more) => {
    const response = await stream("Once upon", headers, more);
    expect(response.status).toBe(200);
    expect(response.headers.get("content-type")).toBe("text/event-stream; charset=utf-8");
    expect(response.headers.get("x-accel-buffering")).toBe("no");
    expect(response.headers.get("cache-control")).toContain("no-cache");
    expect(response.headers.get("access-control-allow-origin")).toBe("*");
    expect(response.headers.get("x-request-id")).not.toBe(null);
    expect(await events(response)).toEqual(['data: {"word":"Once"}', 'data: {"word":"upon","place":1}', "data: [DONE]"]);
  });

  test("answers at once when the client does not ask for the stream", async () => {
    const response = await stream("Once upon", {}, { stream: false });
    expect(await response.json()).toMatchObject({ data: { word: "Once upon" } });
  });

  test("answers an error before the first message with its status", async () => {
    const response = await stream("missing", { accept: "text/event-stream" });
    expect(response.status).toBe(404);
    expect((await errorOf(response)).code).toBe("NOT_FOUND");
  });

  test("ends with the error and without [DONE] after the first message", async () => {
    const response = await stream("Once own upon", { accept: "text/event-stream" });
    expect(response.status).toBe(200);
    const [first, last, ...rest] = await events(response);
    expect(first).toBe('data: {"word":"Once"}');
    expect(JSON.parse((last ?? "").slice("data: ".length)) as JsonValue).toEqual({
      error: { message: "The ladder broke.", type: "server_error", param: null, code: "READ_ERROR" },
    });
    expect(rest).toEqual([]);
  });

  test("also hides the message of an unexpected error in a stream", async () => {
    const text = await (await stream("Once bug", { accept: "text/event-stream" })).text();
    expect(text).toContain("INTERNAL_ERROR");
    expect(text).not.toContain("secret");
  });

  test("streams over GET, and cancels the call when the client disconnects", async () => {
    const client = new AbortController();
    const response = await gateway.fetch(`/v1/shelves/${shelf}/watch`, { signal: client.signal });
    const reader = response.body?.getReader();
    expect(new TextDecoder().decode((await reader?.read())?.value)).toBe('data: {"word":"watching"}\n\n');
    const { signal } = gateway.calls.at(-1) ?? {};
    expect(signal?.aborted).toBe(false);
    const aborted = once(signal as AbortSignal, "abort");
    client.abort();
    await aborted;
  });

  test("resumes after the event that the client names, and sends the id of each event that has one", async () => {
    const client = new AbortController();
    const read = async (query: string) => {
      const response = await gateway.fetch(`/v1/shelves/${shelf}/watch${query}`, {
        signal: client.signal,
        headers: { "last-event-id": "7" },
      });
      let text = "";
      const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader();
      while (!text.includes('"mark"')) text += (await reader?.read())?.value;
      return text;
    };
    expect(await read("")).toBe('data: {"word":"watching"}\n\nid: after 7\ndata: {"mark":"after 7"}\n\n');
    expect(await read("?after=9")).toContain("id: after 7");
    client.abort();
  });
});

describe("an idempotency key", () => {
  const put = (key: string) =>
    gateway.fetch(`/v1/shelves/${shelf}/books/1`, {
      method: "PUT",
      headers: { "content-type": "application/json", "idempotency-key": key },
      body: JSON.stringify({ title: "Emma" }),
    });

  test("is forwarded where the method takes one", async () => {
    expect((await put("once-and-for-all")).status).toBe(202);
    expect(gateway.calls.at(-1)?.header.get("idempotency-key")).toBe("once-and-for-all");
    await gateway.fetch("/v1/rules", { headers: { "idempotency-key": "ignored" } });
    expect(gateway.calls.at(-1)?.header.has("idempotency-key")).toBe(false);
  });

  test("that is malformed is refused by name", async () => {
    for (const key of ["with space", "x".repeat(256), "\u00fc"]) {
      const response = await put(key);
      expect(response.status).toBe(400);
      expect(((await response.json()) as { error: unknown }).error).toMatchObject({ param: "Idempotency-Key" });
    }
  });
});
