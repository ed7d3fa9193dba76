import { create, type DescMessage, type JsonObject, type JsonValue, toJson } from "@bufbuild/protobuf";
import { detailOf, ErrorReason, reasonOf } from "@turnwright/platform/errors";
import { describe, expect, test } from "vitest";
import { compileLibrary } from "../../testing/library.ts";
import { type BindableRequest, createBinder } from "./binder.ts";
import { type Binding, routesOf } from "./routes.ts";

const library = compileLibrary();
const routes = routesOf([library.service]);

function bindingOf(method: string): Binding {
  for (const { unary, stream } of routes) {
    for (const binding of [unary, stream]) if (binding?.method.name === method) return binding;
  }
  throw new Error(`no binding of ${method}`);
}

/** Binds a request and returns the message as JSON. */
function bound(method: string, request: Partial<BindableRequest>): JsonValue {
  const binding = bindingOf(method);
  const message = createBinder(binding)({ params: {}, query: {}, body: undefined, ...request });
  return toJson(binding.method.input as DescMessage, message, { useProtoFieldName: true }) as JsonValue;
}

interface Fault {
  readonly param: string;
  readonly message: string;
}

function faultsOf(method: string, request: Partial<BindableRequest>): Fault[] {
  try {
    bound(method, request);
  } catch (error) {
    return (detailOf(error)?.faults ?? []).map(({ param, message }) => ({ param, message }));
  }
  throw new Error("was not refused");
}

function refused(method: string, request: Partial<BindableRequest>): Fault {
  try {
    bound(method, request);
  } catch (error) {
    expect(reasonOf(error)).toBe(ErrorReason.INVALID_REQUEST);
    return { message: (error as { rawMessage: string }).rawMessage, param: detailOf(error)?.param ?? "" };
  }
  throw new Error("was not refused");
}

describe("createBinder", () => {
  test("reads path and query: text, lists, optional numbers, switches, enums, times", () => {
    const query = {
      words: ["sea", "whale"],
      page_size: "20",
      with_lent: "true",
      kind: "KIND_NOVEL",
      since: "2026-01-02T03:04:05Z",
      min_weight: "0.5",
      years: "1851",
      after: "9007199254740993",
    };
    expect(bound("ListBooks", { params: { shelf_id: "s1" }, query })).toEqual({
      ...query,
      shelf_id: "s1",
      page_size: 20,
      with_lent: true,
      min_weight: 0.5,
      years: [1851],
    });
  });

  test("also accepts camelCase names in a query, and uses the last of a repeated single one", () => {
    const query = { pageSize: ["3", "5"] };
    expect(bound("ListBooks", { params: { shelf_id: "s1" }, query })).toEqual({ shelf_id: "s1", page_size: 5 });
  });

  test("distinguishes an absent optional field from zero", () => {
    expect(bound("ListBooks", { params: { shelf_id: "s1" }, query: { page_size: "0" } })).toEqual({
      shelf_id: "s1",
      page_size: 0,
    });
  });

  test("does not let query or body override the path", () => {
    const query = { shelf_id: "s2", shelfId: "s3" };
    expect(faultsOf("ListBooks", { params: { shelf_id: "s1" }, query })).toMatchObject([
      { param: "shelf_id", message: "does not belong in the query" },
      { param: "shelfId", message: "unknown parameter" },
    ]);
  });

  test("binds a body to its field, and the query to the others", () => {
    const request = { params: { shelf_id: "s1", place: "7" }, query: { force: "1" }, body: { title: "Emma" } };
    expect(bound("PutBook", request)).toEqual({ shelf_id: "s1", place: 7, force: true, book: { title: "Emma" } });
  });

  test("reads a whole body with fields in either spelling, and none as an empty one", () => {
    expect(bound("Read", { body: { text: "Once", kind: 1, stream: null } })).toEqual({ text: "Once", kind: "KIND_NOVEL" });
    expect(bound("Read", {})).toEqual({});
  });

  test.each<[string, string, Partial<BindableRequest>, string, string]>([
    ["a text for a number of the query", "ListBooks", { query: { page_size: "many" } }, "page_size", '"many"'],
    ["a fraction for a whole number", "ListBooks", { query: { page_size: "1.5" } }, "page_size", '"1.5"'],
    ["a number out of its range", "ListBooks", { query: { page_size: "99999999999" } }, "page_size", "99999999999"],
    ["an empty number", "ListBooks", { query: { min_weight: "" } }, "min_weight", '""'],
    ["a bad switch", "ListBooks", { query: { with_lent: "maybe" } }, "with_lent", '"maybe"'],
    ["a bad item of a list", "ListBooks", { query: { years: ["1851", "soon"] } }, "years", '"soon"'],
    ["an unknown enum name", "ListBooks", { query: { kind: "KIND_POEM" } }, "kind", "KIND_POEM"],
    ["an invalid time", "ListBooks", { query: { since: "yesterday" } }, "since", "RFC 3339"],
    ["a number in the path", "PutBook", { params: { shelf_id: "s1", place: "top" } }, "place", '"top"'],
    ["a number for a text of the body", "Read", { body: { text: 5 } }, "text", "expected string, got 5"],
    ["a text for an enum of the body", "Read", { body: { kind: "poem" } }, "kind", "poem"],
    ["a field inside the body's field", "PutBook", { params: { place: "1" }, body: { pages: "x" } }, "pages", "x"],
  ])("refuses %s and names the field", (_what, method, request, param, why) => {
    const refusal = refused(method, { params: { shelf_id: "s1", ...request.params }, ...request });
    expect(refusal.param).toBe(param);
    expect(refusal.message).toMatch(new RegExp(`^${param}: `));
    expect(refusal.message).toContain(why);
    expect(refusal.message).not.toContain("fixture.v1");
  });

  test.each([[["a list"]], ["text"], [5], [null], [true]])("refuses %j in place of an object", (body) => {
    expect(refused("Read", { body: body as JsonValue }).message).toMatch(/^body: /);
  });

  test("throws at once when an annotation names a field that is not there", () => {
    const binding = bindingOf("PutBook");
    expect(() => createBinder({ ...binding, body: "volume" })).toThrow("volume");
  });

  test("refuses __proto__ in a body", () => {
    const body = JSON.parse('{"__proto__":{"text":"sly"},"stream":true}') as JsonValue;
    expect(refused("Read", { body }).param).toBe("__proto__");
    expect(create(bindingOf("Read").method.input)).not.toHaveProperty("polluted");
  });

  test.each<[string, string, Partial<BindableRequest>, string]>([
    ["a field of the body", "Read", { body: { txt: "Once" } }, "txt: unknown field; did you mean text?"],
    ["a field far from all others", "Read", { body: { colour: "red" } }, "colour: unknown field"],
    [
      "a field within the body's field",
      "PutBook",
      { params: { place: "1" }, body: { titel: "x" } },
      "titel: unknown field; did you mean title?",
    ],
    [
      "a field of a list of messages",
      "PutBook",
      { params: { place: "1" }, body: { sequels: [{}, { titel: "x" }] } },
      "sequels[1].titel: unknown field; did you mean title?",
    ],
    [
      "a field of a map of messages",
      "PutBook",
      { params: { place: "1" }, body: { translations: { de: { titel: "x" } } } },
      'translations["de"].titel: unknown field; did you mean title?',
    ],
    ["an extension", "Read", { body: { "[fixture.v1.more]": 1 } }, "[fixture.v1.more]: unknown field"],
    ["a query parameter", "ListBooks", { query: { pagesize: "3" } }, "pagesize: unknown parameter; did you mean page_size?"],
    ["a query beside a body", "Read", { query: { text: "Twice" }, body: { text: "Once" } }, "text: does not belong in the query"],
    ["a body of a request without one", "ListBooks", { body: { with_lent: true } }, "with_lent: this request takes no body"],
    [
      "another id than the path's",
      "PutBook",
      { params: { place: "1" }, query: { place: "2" } },
      "place: does not belong in the query",
    ],
  ])("refuses %s that it does not know, by name", (_what, method, request, message) => {
    const [fault] = faultsOf(method, { params: { shelf_id: "s1", ...request.params }, ...request });
    expect(`${fault?.param}: ${fault?.message}`).toBe(message);
  });

  test("ignores what a message of another API's form does not know, and nothing around it", () => {
    const clippings: JsonValue[] = [
      { text: "a", index: 0, extra_content: { a: [1] } },
      { text: "b", source: { title: "Emma" } },
    ];
    expect(bound("Read", { body: { text: "Once", clippings } })).toEqual({
      text: "Once",
      clippings: [{ text: "a" }, { text: "b", source: { title: "Emma" } }],
    });
    expect(faultsOf("Read", { body: { clippings: [{ index: 0, source: { titel: "x" } }], colour: 1 } })).toEqual([
      { param: "clippings[0].source.titel", message: "unknown field; did you mean title?" },
      { param: "colour", message: "unknown field" },
    ]);
  });

  test("names all faults at once: unknown names, other types, and broken rules of the sound fields", () => {
    const body = {
      title: 5,
      pages: "many",
      authors: ["a", 2],
      kind: "KIND_POEM",
      extra: 1,
      sequels: [{ edition: 1.5 }],
      colour: "red",
    };
    const request = { params: { shelf_id: "s1", place: "top" }, query: { force: "maybe", forse: "1" }, body };
    expect(faultsOf("PutBook", request).map(({ param }) => param)).toEqual([
      "force",
      "forse",
      "place",
      "title",
      "pages",
      "authors[1]",
      "kind",
      "extra",
      "sequels[0].edition",
      "colour",
    ]);
    expect(faultsOf("ListBooks", { params: { shelf_id: "s1" }, query: { colour: "red" } })).toEqual([
      { param: "colour", message: "unknown parameter" },
      { param: "shelf_id", message: "must be a valid UUID" },
    ]);
  });

  test("names no more faults than it lists, however many there are", () => {
    const body = Object.fromEntries(Array.from({ length: 9_000 }, (_, index) => [`title${index}`.padEnd(100, "x"), index]));
    expect(faultsOf("PutBook", { params: { shelf_id: "s1", place: "1" }, body }).length).toBeLessThanOrEqual(20);
  });

  test("takes the other form's switch, and null for each of its other fields", () => {
    const [watch, read] = [bindingOf("WatchShelf"), bindingOf("Read")];
    const bind = createBinder({ ...watch, body: "*" }, read.method.input);
    const request = { params: { shelf_id: "s1" }, query: {} };
    const faults = (body: JsonObject) => {
      try {
        bind({ ...request, body });
      } catch (error) {
        return (error as { rawMessage: string }).rawMessage;
      }
      return "";
    };
    expect(bind({ ...request, body: { after: "a", stream: false, text: null } })).toMatchObject({ after: "a" });
    expect(faults({ stream: "yes" })).toBe('stream: expected true or false, got "yes"');
    expect(faults({ text: "Once" })).toBe("text: depends on stream; see the API's documentation");
    const alone = createBinder({ ...watch, body: "*" });
    expect(() => alone({ ...request, body: { stream: false } })).toThrow("stream: unknown field");
  });
});
