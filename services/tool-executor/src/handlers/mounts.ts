import type { ServiceImpl } from "@connectrpc/connect";
import type { ExecutionService } from "@turnwright/contract/tool/v1/execution_service";
import type { ToolService } from "@turnwright/contract/tool/v1/tool_service";
import { ErrorReason, fail } from "@turnwright/platform/errors";
import { requireIdentity } from "@turnwright/platform/identity/identity";
import { cancelCalls } from "./cancel-calls.ts";
import type { ExecutorDeps } from "./deps.ts";
import { executeCalls } from "./execute-calls.ts";
import { batchExecuteTools, executeTool } from "./execute-tool.ts";
import { settleCalls } from "./settle-calls.ts";

/** Handlers of ToolService, which users call. */
export function toolHandlers(deps: ExecutorDeps): ServiceImpl<typeof ToolService> {
  return {
    listTools(_request, ctx) {
      const identity = requireIdentity(ctx);
      const specs = deps.registry.specsFor(identity);
      return {
        tools: specs.flatMap(({ definition }) => (definition === undefined ? [] : [definition])),
        details: deps.registry.detailsFor(identity),
      };
    },
    async executeTool({ call }, ctx) {
      const identity = requireIdentity(ctx);
      if (call === undefined) throw fail(ErrorReason.INVALID_REQUEST, "call: is required", { param: "call" });
      return { result: await executeTool(deps, call, identity, ctx.signal) };
    },
    async batchExecuteTools({ calls }, ctx) {
      return { results: await batchExecuteTools(deps, calls, requireIdentity(ctx), ctx.signal) };
    },
  };
}

/** Handlers of ExecutionService, which other services call. */
export function executionHandlers(deps: ExecutorDeps): ServiceImpl<typeof ExecutionService> {
  return {
    describeTools() {
      return { tools: [...deps.registry.specs] };
    },
    checkCall({ name, arguments: argumentsText }, ctx) {
      deps.registry.find(name, requireIdentity(ctx)).parse(argumentsText);
      return {};
    },
    async executeCalls(request, ctx) {
      return { results: await executeCalls(deps, request, requireIdentity(ctx), ctx.signal) };
    },
    async cancelCalls(request, ctx) {
      return { receipts: await cancelCalls(deps, request, requireIdentity(ctx), ctx.signal) };
    },
    async settleCalls(request, ctx) {
      return { results: await settleCalls(deps, request, requireIdentity(ctx)) };
    },
  };
}
