import { describe, expect, test } from "vitest";
import { describeProtos } from "./described-protos.ts";
import { buildOpenApi } from "./document.ts";
import { exampleFaults } from "./example-faults.ts";

const head = `syntax = "proto3";
package fixture.v1;
import "buf/validate/validate.proto";
import "google/api/annotations.proto";
import "google/protobuf/struct.proto";
import "google/protobuf/timestamp.proto";
import "google/protobuf/wrappers.proto";
import "turnwright/auth/v1/access.proto";
import "turnwright/errors/v1/surface.proto";
`;

const shelf = `${head}
// Shelves.
service ShelfService {
  // Find shelves. Slow on
  // large libraries.
  //
  // Ask twice.
  rpc FindShelves(FindShelvesRequest) returns (FindShelvesResponse) {
    option (google.api.http) = {
      get: "/v1/{library=libraries/*}/shelves"
      additional_bindings {get: "/v1/shelves"}
    };
    option (turnwright.auth.v1.access) = ACCESS_USER;
  }
  // Put a shelf somewhere.
  rpc PutShelf(PutShelfRequest) returns (PutShelfResponse) {
    option (google.api.http) = {put: "/v1/shelves/{id}" body: "shelf" response_body: "shelf"};
    option (turnwright.auth.v1.access) = ACCESS_ADMIN;
    option (turnwright.errors.v1.surface) = {tag: "shelves" success_status: 202 error_code: "SHELF_ERROR"};
    option deprecated = true;
  }
  // Watch a shelf.
  rpc WatchShelf(WatchShelfRequest) returns (stream WatchShelfResponse) {
    option (google.api.http) = {get: "/v1/shelves/{id}/watch"};
    option (turnwright.auth.v1.access) = ACCESS_PUBLIC;
  }
  // For services.
  rpc Internal(WatchShelfRequest) returns (PutShelfResponse) {
    option (google.api.http) = {get: "/v1/internal"};
    option (turnwright.auth.v1.access) = ACCESS_SERVICE;
  }
  // Without a route.
  rpc Plain(WatchShelfRequest) returns (PutShelfResponse) {
    option (turnwright.auth.v1.access) = ACCESS_USER;
  }
}
enum Kind {
  KIND_UNSPECIFIED = 0;
  KIND_OPEN = 1;
  KIND_CLOSED = 2;
}
message FindShelvesRequest {
  string library = 1;
  repeated string words = 2 [(buf.validate.field).repeated = {min_items: 1, unique: true, items: {string: {max_len: 20}}}];
  Range years = 3;
  Kind kind = 4 [(buf.validate.field).enum = {defined_only: true, not_in: [0]}];
  map<string, string> labels = 5;
  google.protobuf.Timestamp since = 6;
}
message Range {
  int32 from = 1 [(buf.validate.field).int32.gt = 1000];
  int32 to = 2 [(buf.validate.field).int32.lt = 3000];
}
message FindShelvesResponse {
  repeated Shelf shelves = 1;
}
message Shelf {
  string label = 1 [(buf.validate.field).string = {pattern: "^[A-Z]+$", example: "ABC"}];
  uint64 volume = 2 [(buf.validate.field).uint64.lte = 10];
  bytes picture = 3 [(buf.validate.field).bytes.max_len = 4];
  google.protobuf.Struct extra = 4;
  google.protobuf.Value any = 5;
  google.protobuf.Int32Value stock = 6;
  map<string, Kind> kinds = 7 [(buf.validate.field).map = {max_pairs: 3, keys: {string: {max_len: 5}}}];
  // The shelf that this one stands on.
  Shelf below = 8;
  optional string note = 9 [(buf.validate.field).string.min_len = 3];
  string owner = 10 [(buf.validate.field).string.uuid = true, (buf.validate.field).ignore = IGNORE_IF_ZERO_VALUE];
  float height = 11 [(buf.validate.field).float = {gt: 0, lte: 3.5}];
  google.protobuf.Timestamp built_at = 12 [(buf.validate.field).required = true];
  string unused = 13 [(buf.validate.field).string.min_len = 1, (buf.validate.field).ignore = IGNORE_ALWAYS];
}
message PutShelfRequest {
  string id = 1 [(buf.validate.field).string.uuid = true];
  Shelf shelf = 2 [(buf.validate.field).required = true];
  bool force = 3;
}
message PutShelfResponse {
  Shelf shelf = 1;
}
message WatchShelfRequest {
  string id = 1;
}
message WatchShelfResponse {
  string type = 1;
}
`;

describe("the OpenAPI document of a service unknown to the generator", () => {
  const document = buildOpenApi(describeProtos(shelf).services);

  test("has its routes, without those of methods for services", () => {
    expect(Object.keys(document.paths)).toEqual([
      "/health",
      "/ready",
      "/v1/shelves",
      "/v1/shelves/{id}",
      "/v1/shelves/{id}/watch",
      "/v1/{library}/shelves",
    ]);
    expect(document.paths["/v1/{library}/shelves"]?.get?.operationId).toBe("ShelfService_FindShelves");
    expect(document.paths["/v1/shelves"]?.get?.operationId).toBe("ShelfService_FindShelves_2");
  });

  test("takes summaries and descriptions from the comments", () => {
    const operation = document.paths["/v1/shelves"]?.get;
    expect(operation?.summary).toBe("Find shelves");
    expect(operation?.description).toBe("Find shelves. Slow on large libraries.\n\nAsk twice.");
    expect(operation?.tags).toEqual(["ShelfService"]);
  });

  test("has query parameters for fields outside of path and body, nested ones by their path, and none for maps", () => {
    const parameters = document.paths["/v1/{library}/shelves"]?.get?.parameters ?? [];
    expect(parameters.map(({ name, in: place, required }) => [name, place, required])).toEqual([
      ["library", "path", true],
      ["words", "query", true],
      ["years.from", "query", true],
      ["years.to", "query", false],
      ["kind", "query", true],
      ["since", "query", false],
    ]);
    expect(parameters.map(({ schema }) => schema)).toEqual([
      { type: "string" },
      { type: "array", items: { type: "string", maxLength: 20 }, minItems: 1, uniqueItems: true },
      { type: "integer", format: "int32", exclusiveMinimum: 1000 },
      { type: "integer", format: "int32", exclusiveMaximum: 3000, examples: [1] },
      { type: "string", enum: ["KIND_OPEN", "KIND_CLOSED"] },
      { type: "string", format: "date-time", examples: ["2026-01-15T09:30:00Z"] },
    ]);
    const put = document.paths["/v1/shelves/{id}"]?.put;
    expect(put?.parameters?.map(({ name, in: place }) => [name, place])).toEqual([
      ["id", "path"],
      ["force", "query"],
    ]);
  });

  test("takes body and response from single fields, and status, tag and code from the surface option", () => {
    const put = document.paths["/v1/shelves/{id}"]?.put;
    expect(put).toMatchObject({ tags: ["shelves"], deprecated: true });
    expect(put?.requestBody?.required).toBe(true);
    expect(put?.requestBody?.content["application/json"]?.schema).toEqual({ $ref: "#/components/schemas/ShelfInput" });
    expect(Object.keys(put?.responses ?? {})).toEqual(["202", "400", "401", "403", "404", "429", "500", "default"].sort());
    expect(put?.responses["202"]?.content?.["application/json"]?.schema.properties?.data).toEqual({
      anyOf: [{ $ref: "#/components/schemas/Shelf" }, { type: "null" }],
    });
    expect(put?.responses.default?.description).toContain("or `SHELF_ERROR` if the reason has none");
  });

  test("makes examples that fit their schema, also of messages that contain themselves", () => {
    expect(exampleFaults(document)).toEqual([]);
    const body = document.paths["/v1/shelves/{id}"]?.put?.requestBody?.content["application/json"];
    expect(body?.example).toMatchObject({ label: "ABC", built_at: expect.stringMatching(/^\d{4}-/) });
    expect(body?.example).toMatchObject({ below: null });
  });

  test("reports an example that does not fit its schema", () => {
    const broken = structuredClone(document);
    const body = broken.paths["/v1/shelves/{id}"]?.put?.requestBody?.content["application/json"];
    expect(body).toBeDefined();
    if (body !== undefined) body.example = { label: "abc" };
    expect(exampleFaults(broken)).toEqual([
      expect.stringMatching(/^put \/v1\/shelves\/\{id\} request .*label must match pattern/),
    ]);
  });

  test("documents a method that only streams", () => {
    const watch = document.paths["/v1/shelves/{id}/watch"]?.get;
    expect(watch?.security).toEqual([]);
    expect(watch?.responses["200"]?.content).toEqual({
      "text/event-stream": { schema: { $ref: "#/components/schemas/WatchShelfResponse" }, example: { type: "type" } },
    });
  });

  test("expresses each kind of field and its rules in JSON Schema", () => {
    expect(document.components.schemas.ShelfInput).toEqual({
      type: "object",
      properties: {
        label: { type: "string", pattern: "^[A-Z]+$", examples: ["ABC"] },
        volume: { type: ["integer", "string", "null"], maximum: 10 },
        picture: { type: ["string", "null"], contentEncoding: "base64", maxLength: 8 },
        extra: { type: ["object", "null"], additionalProperties: true },
        any: {},
        stock: { type: ["integer", "null"], format: "int32" },
        kinds: {
          type: ["object", "null"],
          maxProperties: 3,
          propertyNames: { maxLength: 5 },
          additionalProperties: { type: "string", enum: ["KIND_UNSPECIFIED", "KIND_OPEN", "KIND_CLOSED"] },
        },
        below: {
          anyOf: [{ $ref: "#/components/schemas/ShelfInput" }, { type: "null" }],
          description: "The shelf that this one stands on.",
        },
        note: { type: ["string", "null"], minLength: 3 },
        owner: { type: ["string", "null"], anyOf: [{ format: "uuid" }, { const: "" }, { type: "null" }] },
        height: { type: "number", format: "float", exclusiveMinimum: 0, maximum: 3.5 },
        built_at: { type: "string", format: "date-time" },
        unused: { type: ["string", "null"] },
      },
      required: ["label", "height", "built_at"],
      additionalProperties: false,
    });
    expect(document.components.schemas.Shelf?.properties?.volume).toEqual({ type: "string" });
    expect(document.components.schemas.Shelf?.properties?.note).toEqual({ type: ["string", "null"] });
  });
});

const method = (options: string, streams = "") => `${head}
service OddService {
  rpc Odd(OddRequest) returns (OddResponse) { ${options} }
  rpc Other(${streams}OddRequest) returns (OddResponse) {
    option (google.api.http) = {get: "/v1/odd/other"};
    option (turnwright.auth.v1.access) = ACCESS_USER;
  }
}
message OddRequest { string id = 1; }
message OddResponse {}
`;
const http = (rule: string) => `option (google.api.http) = {${rule}};`;
const user = "option (turnwright.auth.v1.access) = ACCESS_USER;";
const look = (text: string) => `option (turnwright.errors.v1.surface) = {${text}};`;

describe("the generator refuses and names", () => {
  test.each([
    ["a route whose method has no access option", method(http('get: "/v1/odd"')), /OddService\.Odd .*no access option/],
    [
      "two methods on one path and verb",
      method(http('get: "/v1/odd/other"') + user),
      /OddService\.Odd and .*OddService\.Other share/,
    ],
    ["a path variable without a field", method(http('get: "/v1/odd/{what}"') + user), /OddRequest has no field what/],
    ["a verb unknown to OpenAPI", method(http('custom: {kind: "LINK" path: "/v1/odd"}') + user), /no HTTP method link/],
    [
      "an example that is not JSON",
      method(http('post: "/v1/odd" body: "*"') + user + look("request_example: '{'")),
      /Odd.*not JSON/,
    ],
    [
      "a schema that does not exist",
      method(http('get: "/v1/odd"') + user + look('response_schema: "no.Such"')),
      /no message type no\.Such/,
    ],
    ["a stream from the client", method(http('get: "/v1/odd"') + user, "stream "), /OddService\.Other streams from the client/],
  ])("%s", (_name, source, message) => {
    const { services, files } = describeProtos(source);
    expect(() => buildOpenApi(services, files)).toThrow(message);
  });
});
