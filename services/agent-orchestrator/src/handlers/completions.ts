import type { HandlerContext, ServiceImpl } from "@connectrpc/connect";
import type { CompletionService } from "@turnwright/contract/agent/v1/completion_service";
import { allows, requireIdentity } from "@turnwright/platform/identity/identity";
import { forward } from "@turnwright/platform/rpc/forward";
import { complete, streamComplete } from "../completions/completion.ts";
import type { CompletionCall, CompletionDeps } from "../completions/open-completion.ts";
import { usageMessage } from "../model/edge/chunk.ts";
import type { ModelList } from "../model/model-list.ts";

function callOf(ctx: HandlerContext): CompletionCall {
  return { identity: requireIdentity(ctx), options: forward(ctx), signal: ctx.signal };
}

/** Handlers of CompletionService: stateless completions. */
export function completionHandlers(deps: CompletionDeps & { readonly models: ModelList }): ServiceImpl<typeof CompletionService> {
  return {
    async complete(request, ctx) {
      const answer = await complete(deps, callOf(ctx), request);
      return { body: answer.body, usage: usageMessage(answer.usage), model: answer.model };
    },

    streamComplete(request, ctx) {
      return streamComplete(deps, callOf(ctx), request, request.format);
    },

    async listModels(_request, ctx) {
      const { allowedModels } = requireIdentity(ctx);
      const models = await deps.models.models();
      return {
        object: "list",
        data: models
          .filter(({ id }) => allows(allowedModels, id))
          .map(({ id, ownedBy }) => ({ id, object: "model", created: deps.models.since, ownedBy })),
      };
    },
  };
}
