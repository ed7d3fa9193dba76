import { create, type DescMessage, fromJson, type JsonValue, type Message, toJson } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { StreamTurnResponseSchema } from "@turnwright/contract/agent/v1/agent_service";
import { UsageRowSchema } from "@turnwright/contract/auth/v1/usage_service";
import { ConversationSchema } from "@turnwright/contract/conversation/v1/conversation";
import { FunctionDefinitionSchema } from "@turnwright/contract/tool/v1/tool";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { compileLibrary } from "../../testing/library.ts";
import { JsonWriters } from "./json-writer.ts";

const book = compileLibrary().message("Book");
const writers = new JsonWriters();

const text = fc.string({ unit: "binary" });
const kind = fc.constantFrom("KIND_UNSPECIFIED", "KIND_NOVEL", "KIND_MANUAL");
const int32 = fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 });
const int64 = fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }).map(String);
const plainJson = fc.jsonValue({ maxDepth: 2 }).map((value) => JSON.parse(JSON.stringify(value)) as JsonValue);

/** Books as protobuf's own JSON. */
const { anyBook } = fc.letrec<{ anyBook: JsonValue }>((tie) => ({
  anyBook: fc.record(
    {
      title: text,
      pages: int32,
      catalogue_number: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }).map(String),
      weight: fc.oneof(fc.double({ noNaN: true, noDefaultInfinity: true }), fc.constantFrom("NaN", "Infinity", "-Infinity")),
      is_lent: fc.boolean(),
      cover: fc.uint8Array({ maxLength: 9 }).map((bytes) => Buffer.from(bytes).toString("base64")),
      kind,
      subtitle: text,
      edition: int32,
      printed_at: fc
        .date({ min: new Date("0001-01-02"), max: new Date("9999-12-30"), noInvalidDate: true })
        .map((date) => date.toISOString()),
      extra: fc.dictionary(text, plainJson, { maxKeys: 3 }),
      any: plainJson,
      stock: int64,
      authors: fc.array(text, { maxLength: 3 }),
      kinds: fc.array(kind, { maxLength: 3 }),
      marks: fc.dictionary(text, int32, { maxKeys: 3 }),
      thickness: fc.float({ noNaN: true, noDefaultInfinity: true }),
      leather: text,
      sequels: fc.array(fc.oneof({ maxDepth: 2 }, fc.constant({}), tie("anyBook")), { maxLength: 2 }),
      original: fc.oneof({ maxDepth: 2 }, fc.constant({}), tie("anyBook")),
      translations: fc.dictionary(text, fc.oneof({ maxDepth: 2 }, fc.constant({}), tie("anyBook")), { maxKeys: 2 }),
    },
    { requiredKeys: [] },
  ) as fc.Arbitrary<JsonValue>,
}));

/** Normalises the differences between the two forms: unset as null, milliseconds as `.000`. */
function comparable(value: JsonValue | undefined): unknown {
  if (Array.isArray(value)) return value.map(comparable);
  if (typeof value === "string") return value.replace(/^(\d{4}-\d\d-\d\dT[\d:]{8})\.000Z$/, "$1Z");
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).flatMap(([key, entry]) => (entry === null ? [] : [[key, comparable(entry)]])));
}

const overTheWire = (value: JsonValue): JsonValue => JSON.parse(JSON.stringify(value));

describe("JsonWriters", () => {
  test("writes whole messages as protobuf's JSON with every field", () => {
    fc.assert(
      fc.property(anyBook, (json) => {
        const message = fromJson(book, json);
        const ours = comparable(overTheWire(writers.whole(book)(message)));
        const theirs = comparable(
          overTheWire(toJson(book, message, { alwaysEmitImplicit: true, useProtoFieldName: true }) as JsonValue),
        );
        expect(ours).toEqual(theirs);
      }),
      { numRuns: 300 },
    );
  });

  test("writes the same fields of an event as protobuf's JSON", () => {
    const fieldsOf = (value: JsonValue) => Object.keys(value as object).sort();
    fc.assert(
      fc.property(anyBook, (json) => {
        const message = fromJson(book, json);
        const theirs = toJson(book, message, { useProtoFieldName: true }) as JsonValue;
        expect(fieldsOf(writers.sparse(book)(message))).toEqual(fieldsOf(theirs));
      }),
      { numRuns: 300 },
    );
  });

  test("writes unset fields as null, empty lists and zeros", () => {
    expect(writers.whole(book)(create(book))).toEqual({
      title: "",
      pages: 0,
      catalogue_number: "0",
      weight: 0,
      is_lent: false,
      cover: "",
      kind: "KIND_UNSPECIFIED",
      subtitle: null,
      edition: null,
      printed_at: null,
      extra: null,
      any: null,
      stock: null,
      authors: [],
      kinds: [],
      sequels: [],
      marks: {},
      translations: {},
      original: null,
      thickness: 0,
    });
  });

  test("writes only set fields of an event, and whole messages inside it", () => {
    const event = create(StreamTurnResponseSchema, { type: "finish", delta: "stop", usage: { promptTokens: 3 } });
    expect(writers.sparse(StreamTurnResponseSchema)(event)).toEqual({
      type: "finish",
      delta: "stop",
      usage: { prompt_tokens: 3, completion_tokens: 0, total_tokens: 0 },
    });
  });

  test("writes times in RFC 3339, to the nanosecond where there are nanoseconds", () => {
    const write = writers.whole(ConversationSchema as DescMessage);
    const times = create(ConversationSchema, {
      createdAt: timestampFromMs(Date.UTC(2026, 0, 2, 3, 4, 5, 67)),
      updatedAt: { seconds: -1n, nanos: 123_456_000 },
    });
    expect(write(times as Message)).toMatchObject({
      created_at: "2026-01-02T03:04:05.067Z",
      updated_at: "1969-12-31T23:59:59.123456000Z",
      last_message_at: null,
    });
  });

  test("passes a struct's own names and nulls on", () => {
    const parameters = { type: "object", camelCase: { snake_case: null } };
    const definition = create(FunctionDefinitionSchema, { name: "calculator", parameters });
    expect(writers.whole(FunctionDefinitionSchema)(definition)).toEqual({
      name: "calculator",
      description: "",
      parameters,
      strict: null,
    });
  });

  test("writes 64-bit fields as numbers where their proto says so", () => {
    const row = create(UsageRowSchema, { day: "2026-01-31", requests: 3n, promptTokens: 5_000_000_000n });
    expect(writers.whole(UsageRowSchema)(row)).toMatchObject({ requests: 3, prompt_tokens: 5_000_000_000, completion_tokens: 0 });
  });
});
