import { create, type DescMessage, type JsonValue, toJson } from "@bufbuild/protobuf";
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

function refused(method: string, request: Partial<BindableRequest>): { message: string; param: string } {
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

  test("also accepts camelCase names in a query, ignores unknown ones, and uses the last of a repeated single one", () => {
    const query = { pageSize: ["3", "5"], utm_source: "mail" };
    expect(bound("ListBooks", { params: { shelf_id: "s1" }, query })).toEqual({ shelf_id: "s1", page_size: 5 });
  });

  test("distinguishes an absent optional field from zero", () => {
    expect(bound("ListBooks", { params: { shelf_id: "s1" }, query: { page_size: "0" } })).toEqual({
      shelf_id: "s1",
      page_size: 0,
    });
  });

  test("does not let query or body override the path", () => {
    expect(bound("ListBooks", { params: { shelf_id: "s1" }, query: { shelf_id: "s2", shelfId: "s3" } })).toEqual({
      shelf_id: "s1",
    });
  });

  test("binds a body to its field, and the query to the others", () => {
    const request = { params: { shelf_id: "s1", place: "7" }, query: { force: "1" }, body: { title: "Emma", unknown: 1 } };
    expect(bound("PutBook", request)).toEqual({ shelf_id: "s1", place: 7, force: true, book: { title: "Emma" } });
  });

  test("reads a whole body with fields in either spelling, and none as an empty one", () => {
    expect(bound("Read", { body: { text: "Once", kind: 1, more: {} } })).toEqual({ text: "Once", kind: "KIND_NOVEL" });
    expect(bound("Read", {})).toEqual({});
  });

  test("leaves the query alone where the body is the whole message", () => {
    expect(bound("Read", { query: { text: "Twice" }, body: { text: "Once" } })).toEqual({ text: "Once" });
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

  test("ignores __proto__ in a body", () => {
    const body = JSON.parse('{"__proto__":{"text":"sly"},"stream":true}') as JsonValue;
    expect(bound("Read", { body })).toEqual({ stream: true });
    expect(create(bindingOf("Read").method.input)).not.toHaveProperty("polluted");
  });
});
