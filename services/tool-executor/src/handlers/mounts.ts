import type { ServiceImpl } from "@connectrpc/connect";
import type { ExecutionService } from "@turnwright/contract/tool/v1/execution_service";
import type { ToolService } from "@turnwright/contract/tool/v1/tool_service";
import { ErrorReason, fail } from "@turnwright/platform/errors";
import { requireIdentity } from "@turnwright/platform/identity/identity";
import { cancelCalls } from "./cancel-calls.ts";
import type { ExecutorParts } from "./deps.ts";
import { executeRound } from "./execute-calls.ts";
import { executeDirectly, executeInBatch } from "./execute-tool.ts";
import { settleCalls } from "./settle-calls.ts";

/** The handlers for users. */
export function toolHandlers(parts: ExecutorParts): ServiceImpl<typeof ToolService> {
  return {
    listTools(_request, ctx) {
      const specs = parts.registry.specsFor(requireIdentity(ctx));
      return { tools: specs.flatMap(({ definition }) => (definition === undefined ? [] : [definition])) };
    },
    async executeTool({ call }, ctx) {
      const identity = requireIdentity(ctx);
      if (call === undefined) throw fail(ErrorReason.INVALID_REQUEST, "call: is required", { param: "call" });
      return { result: await executeDirectly(parts, call, identity, ctx.signal) };
    },
    async batchExecuteTools({ calls }, ctx) {
      const identity = requireIdentity(ctx);
      return { results: await Promise.all(calls.map((call) => executeInBatch(parts, call, identity, ctx.signal))) };
    },
  };
}

/** The handlers for the mesh. */
export function executionHandlers(parts: ExecutorParts): ServiceImpl<typeof ExecutionService> {
  return {
    describeTools() {
      return { tools: [...parts.registry.specs] };
    },
    checkCall({ name, arguments: json }, ctx) {
      parts.registry.find(name, requireIdentity(ctx)).parse(json);
      return {};
    },
    async executeCalls(request, ctx) {
      return { results: await executeRound(parts, request, requireIdentity(ctx), ctx.signal) };
    },
    async cancelCalls(request, ctx) {
      return { receipts: await cancelCalls(parts, request, requireIdentity(ctx), ctx.signal) };
    },
    async settleCalls(request, ctx) {
      return { results: await settleCalls(parts, request, requireIdentity(ctx)) };
    },
  };
}
