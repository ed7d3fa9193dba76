import { AgentService } from "@turnwright/contract/agent/v1/agent_service";
import { CompletionService } from "@turnwright/contract/agent/v1/completion_service";
import { TokenService } from "@turnwright/contract/auth/v1/token_service";
import { describe, expect, test } from "vitest";
import { compileLibrary } from "../../testing/library.ts";
import { routesOf } from "./routes.ts";

const shown = (services: Parameters<typeof routesOf>[0]) =>
  routesOf(services).map(({ verb, path, unary, stream }) => [
    `${verb} ${path.template}`,
    unary?.method.name ?? "",
    stream?.method.name ?? "",
  ]);

describe("routesOf", () => {
  test("reads verbs and paths of an unknown service, without its methods for services", () => {
    expect(shown([compileLibrary().service])).toEqual([
      ["GET /v1/shelves/{shelf_id}/books", "ListBooks", ""],
      ["PUT /v1/shelves/{shelf_id}/books/{place}", "PutBook", ""],
      ["POST /v1/readings", "Read", "StreamRead"],
      ["GET /v1/shelves/{shelf_id}/watch", "", "WatchShelf"],
      ["GET /v1/rules", "GetRules", ""],
      ["GET /v1/copies/{text}", "Copy", ""],
    ]);
  });

  test("pairs a stream with the unary method of its path, additional bindings included", () => {
    expect(shown([AgentService]).filter(([, , stream]) => stream !== "")).toEqual([
      ["POST /v1/conversations", "CreateConversation", "StreamTurn"],
      ["POST /v1/conversations/{conversation_id}/messages", "SendMessage", "StreamTurn"],
    ]);
  });

  test("leaves out methods of the OpenAI surface and those for services only", () => {
    expect(shown([CompletionService, TokenService])).toEqual([
      ["GET /v1/models", "ListModels", ""],
      ["GET /v1/admin/signing-keys", "ListSigningKeys", ""],
      ["POST /v1/admin/signing-keys/rotate", "RotateSigningKey", ""],
      ["GET /.well-known/jwks.json", "GetJwks", ""],
    ]);
  });

  test("throws when two methods claim a verb and path", () => {
    expect(() => routesOf([TokenService, TokenService])).toThrow("GET /v1/admin/signing-keys is claimed by two methods");
  });
});
