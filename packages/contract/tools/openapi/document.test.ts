import { getOption, hasOption } from "@bufbuild/protobuf";
import { Validator } from "@seriousme/openapi-schema-validator";
import { beforeAll, describe, expect, test } from "vitest";
import { http } from "../../gen/google/api/annotations_pb.ts";
import { Access, access } from "../../gen/turnwright/auth/v1/access_pb.ts";
import committed from "../../openapi.json" with { type: "json" };
import { type DescribedProtos, describeProtos } from "./described-protos.ts";
import { buildOpenApi } from "./document.ts";
import { exampleFaults, examplesOf, operationsOf, resolvedResponse } from "./example-faults.ts";
import type { OpenApiDocument, Operation } from "./openapi-types.ts";

let protos: DescribedProtos;
let document: OpenApiDocument;

beforeAll(() => {
  protos = describeProtos();
  document = buildOpenApi(protos.services, protos.files);
});

const operations = () => operationsOf(document);

function operation(name: string): Operation {
  const found = operations().find(([route]) => route === name)?.[1];
  if (found === undefined) throw new Error(`no ${name}`);
  return found;
}

describe("the OpenAPI document of the contract", () => {
  test("is the committed one, whatever the order of services and files", () => {
    expect(JSON.stringify(document)).toBe(JSON.stringify(committed));
    const reversed = buildOpenApi([...protos.services].reverse(), [...protos.files].reverse());
    expect(JSON.stringify(reversed)).toBe(JSON.stringify(document));
  });

  test("is valid OpenAPI 3.1", async () => {
    const validator = new Validator();
    const { valid, errors } = await validator.validate(structuredClone(document) as object as Record<string, unknown>);
    expect(errors).toBeUndefined();
    expect(valid).toBe(true);
    expect(validator.version).toBe("3.1");
  });

  test("has every annotated route except those for services only, the health endpoints, and nothing else", () => {
    const expected = new Set(["get /health", "get /ready"]);
    for (const method of protos.services.flatMap((service) => service.methods)) {
      if (!hasOption(method, http) || getOption(method, access) === Access.SERVICE) continue;
      const rule = getOption(method, http);
      for (const { pattern } of [rule, ...rule.additionalBindings]) expected.add(`${pattern.case} ${pattern.value}`);
    }
    expect(expected.size).toBeGreaterThan(20);
    expect(
      operations()
        .map(([route]) => route)
        .sort(),
    ).toEqual([...expected].sort());
  });

  test("marks deprecated names and leaves them out of examples and of what an answer must have", () => {
    const { properties, required } = document.components.schemas.RunInfo ?? {};
    expect([properties?.agent?.deprecated, properties?.cost?.deprecated]).toEqual([true, true]);
    expect(required).toEqual(expect.arrayContaining(["agent_type", "cost_usd"]));
    for (const old of ["agent", "cost"]) expect(required).not.toContain(old);
    const told = JSON.stringify(operation("get /v1/runs/{run_id}").responses["200"]);
    expect(told).toContain('"agent_type":"general"');
    expect(told).not.toMatch(/"(agent|cost)":/);
    const { parameters = [] } = operation("get /v1/conversations/{conversation_id}/messages");
    const old = parameters.filter(({ deprecated }) => deprecated === true).map(({ name }) => name);
    expect(old).toEqual(["after", "before"]);
  });

  test("gives each operation a unique id, a summary, a description and a listed tag", () => {
    const ids = operations().map(([, { operationId }]) => operationId);
    expect(new Set(ids).size).toBe(ids.length);
    for (const [route, { summary, description, tags }] of operations()) {
      expect(summary, route).toBeTruthy();
      expect(description, route).toContain(summary);
      expect(
        document.tags.map(({ name }) => name),
        route,
      ).toEqual(expect.arrayContaining(tags));
    }
  });

  test("has an example for each parameter and body that fits its schema", () => {
    expect(exampleFaults(document)).toEqual([]);
  });

  test("merges a unary and a streaming method into one operation with both media types", () => {
    const { operationId, responses, requestBody } = operation("post /v1/chat/completions");
    expect(operationId).toBe("CompletionService_Complete");
    expect(Object.keys(responses["200"]?.content ?? {})).toEqual(["application/json", "text/event-stream"]);
    expect(responses["200"]?.content?.["text/event-stream"]?.schema).toEqual({
      $ref: "#/components/schemas/ChatCompletionChunk",
    });
    expect(responses["200"]?.description).toContain("data: [DONE]");
    expect(Object.keys(requestBody?.content["application/json"]?.examples ?? {})).toEqual(["Complete", "StreamComplete"]);
  });

  test("separates merged methods by status if these differ, and joins the properties of their requests", () => {
    const { responses, requestBody } = operation("post /v1/conversations");
    // API pages ask for the media type of the first successful response.
    expect(Object.keys(responses).filter((status) => status.startsWith("2"))).toEqual(["201", "2XX"]);
    expect(Object.keys(responses["201"]?.content ?? {})).toEqual(["application/json"]);
    expect(Object.keys(responses["2XX"]?.content ?? {})).toEqual(["text/event-stream"]);
    expect(responses["2XX"]?.description).toMatch(/^Status 200\. As a stream/);
    const schema = requestBody?.content["application/json"]?.schema;
    expect(Object.keys(schema?.properties ?? {}).sort()).toEqual([
      "agent_type",
      "concurrency",
      "conversation_id",
      "message",
      "model",
      "parts",
      "stream",
    ]);
    expect(schema?.required).toEqual(["message"]);
    expect(schema?.additionalProperties).toBe(false);
    expect(schema?.properties?.conversation_id?.description).toMatch(/Only with `stream`\.$/);
  });

  test("allows null for each optional field of a request, and no unknown field but in OpenAI's bodies", () => {
    const { schemas } = document.components;
    const key = operation("post /v1/api-keys").requestBody?.content["application/json"]?.schema;
    expect(key?.properties?.name?.type).toBe("string");
    expect(key?.properties?.allowed_tools?.type).toEqual(["array", "null"]);
    expect(key?.properties?.spend_limit_usd?.type).toEqual(["number", "null"]);
    expect(key?.additionalProperties).toBe(false);
    expect(schemas.ToolCallInput?.properties?.type).toMatchObject({ type: ["string", "null"], enum: ["", "function", null] });
    expect(schemas.ChatCompletionRequest).toBeDefined();
    expect(schemas.ChatCompletionRequest?.additionalProperties).toBeUndefined();
  });

  test("has no example of an optional parameter, which API pages would send", () => {
    const optional = operations().flatMap(([, { parameters = [] }]) => parameters.filter(({ required }) => !required));
    expect(optional.length).toBeGreaterThan(20);
    expect(optional.filter(({ example }) => example !== undefined)).toEqual([]);
  });

  test("wraps responses in the envelope unless the surface option says bare", () => {
    const schema = operation("get /v1/tools").responses["200"]?.content?.["application/json"]?.schema;
    expect(schema).toMatchObject({
      properties: { success: { const: true }, data: { $ref: "#/components/schemas/ListToolsResponse" } },
    });
    const bare = operation("get /v1/models").responses["200"]?.content?.["application/json"]?.schema;
    expect(bare).toEqual({ $ref: "#/components/schemas/ListModelsResponse" });
  });

  test("asks for a bearer token except on public methods", () => {
    const open = operations().filter(([, { security }]) => security.length === 0);
    expect(open.map(([route]) => route)).toEqual([
      "get /.well-known/jwks.json",
      "get /health",
      "get /ready",
      "post /v1/auth/login",
      "post /v1/auth/refresh",
      "post /v1/auth/register",
      "get /v1/info",
    ]);
    expect(operation("post /v1/auth/logout").security).toEqual([{ bearerAuth: [] }]);
  });

  test("names the scopes that admit an API key", () => {
    expect(operation("get /v1/tools").security).toEqual([{ bearerAuth: ["tools"] }]);
    expect(operation("get /v1/runs/{run_id}").security).toEqual([
      { bearerAuth: ["runs"] },
      { bearerAuth: ["conversations:read"] },
    ]);
  });

  test("shows each error response with the codes that the reason table has for its status", () => {
    const codes = (route: string) =>
      Object.fromEntries(
        Object.entries(operation(route).responses)
          .filter(([status]) => !status.startsWith("2"))
          .map(([status, response]) => {
            const media = resolvedResponse(document, response).content?.["application/json"];
            const shown = media === undefined ? [] : examplesOf(media);
            return [status, shown.map((value) => (value as { error: { code: string } }).error.code)];
          }),
      );
    expect(codes("get /v1/conversations/{conversation_id}")).toEqual({
      "400": ["INVALID_REQUEST", "INVALID_ID"],
      "401": ["UNAUTHORIZED", "INVALID_TOKEN", "TOKEN_EXPIRED"],
      "403": ["FORBIDDEN"],
      "404": ["NOT_FOUND"],
      "429": ["RATE_LIMIT"],
      "500": ["INTERNAL_ERROR"],
      default: ["UNAVAILABLE"],
    });
    expect(Object.keys(codes("post /v1/auth/login"))).toEqual(["400", "429", "500", "default"]);
    expect(codes("post /v1/auth/login").default).toEqual(["LOGIN_ERROR"]);
    expect(codes("get /health")).toEqual({ "503": ["DB_ERROR", "REDIS_ERROR"] });
  });

  test("has the rules of requests as constraints, and requires no optional field", () => {
    const schema = operation("post /v1/auth/register").requestBody?.content["application/json"]?.schema;
    expect(schema?.required).toEqual(["email", "password"]);
    expect(schema?.properties?.email).toMatchObject({ type: "string", format: "email", maxLength: 254 });
    expect(schema?.properties?.password).toMatchObject({ minLength: 8, maxLength: 128 });
    expect(operation("post /v1/tools/batch").requestBody?.content["application/json"]?.schema).toMatchObject({
      type: "array",
      items: { $ref: "#/components/schemas/ToolCallInput" },
      minItems: 1,
      maxItems: 32,
    });
    expect(operation("get /v1/conversations").parameters?.[0]).toMatchObject({
      name: "limit",
      in: "query",
      required: false,
      schema: { type: "integer", minimum: 1, maximum: 100 },
    });
    expect(document.components.schemas.ToolCallInput?.properties?.type).toMatchObject({ enum: ["", "function", null] });
  });

  test("allows null in responses for fields with presence, and requires all others", () => {
    const { properties, required } = document.components.schemas.CreateConversationResponse ?? {};
    expect(properties?.message?.anyOf).toEqual([{ $ref: "#/components/schemas/Message" }, { type: "null" }]);
    expect(required).toEqual(["conversation_id", "response"]);
    expect(document.components.schemas.ApproveConversationResponse?.properties?.response?.type).toEqual(["string", "null"]);
    expect(document.components.schemas.StreamTurnResponse?.required).toBeUndefined();
  });
});
