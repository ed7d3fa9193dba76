import { create } from "@bufbuild/protobuf";
import { createClient, createRouterTransport } from "@connectrpc/connect";
import { IdentitySchema } from "@turnwright/contract/auth/v1/identity";
import { ExecutionService } from "@turnwright/contract/tool/v1/execution_service";
import { createLogger } from "@turnwright/platform/logger";
import { expect, test } from "vitest";
import { createToolCatalogue } from "./tool-catalogue.ts";

const logger = createLogger({ service: "test", level: "silent" });

function catalogueOf(...names: string[]) {
  const transport = createRouterTransport(({ service }) => {
    service(ExecutionService, {
      describeTools: () => ({ tools: names.map((name) => ({ definition: { type: "function", function: { name } } })) }),
    } as never);
  });
  const catalogue = createToolCatalogue({ executions: createClient(ExecutionService, transport), logger });
  return async (...allowedTools: string[]) => {
    const json = await catalogue.definitionsJson(create(IdentitySchema, { allowedTools }), { unattended: false });
    return (JSON.parse(json ?? "[]") as { function: { name: string } }[]).map((tool) => tool.function.name);
  };
}

test("an allow-list with one name that looks like two names is not served the cached list of those two", async () => {
  for (const joined of [
    "calculator current_time",
    "calculator,current_time",
    'calculator","current_time',
    "calculator\0current_time",
  ]) {
    const offered = catalogueOf("calculator", "current_time", "web_search");
    expect(await offered(joined)).toEqual([]);
    expect(await offered("calculator", "current_time")).toEqual(["calculator", "current_time"]);
    expect(await offered(joined)).toEqual([]);
  }
});

test("any number of allow-lists are served, each with its own tools", async () => {
  const offered = catalogueOf("calculator", "current_time");
  for (let key = 0; key < 2_500; key++) expect(await offered("calculator", `of-key-${key}`)).toEqual(["calculator"]);
  expect(await offered("current_time")).toEqual(["current_time"]);
});
