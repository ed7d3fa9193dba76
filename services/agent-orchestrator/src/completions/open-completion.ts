import type { CallOptions, Client } from "@connectrpc/connect";
import type { ServerTools } from "@turnwright/contract/agent/v1/completion_service";
import type { Identity } from "@turnwright/contract/auth/v1/identity";
import type { ExecutionService } from "@turnwright/contract/tool/v1/execution_service";
import { ErrorReason, fail } from "@turnwright/platform/errors";
import { allows } from "@turnwright/platform/identity/identity";
import type { Giver } from "../history/provider-fields.ts";
import type { ModelCalls } from "../model-calls/model-calls.ts";
import type { ToolCatalogue } from "../tool-access/tool-catalogue.ts";
import type { ToolRefusals } from "../tool-access/tool-refusals.ts";
import { type CompletionBody, checkBody, isAmbiguous, readJson, textOf } from "./body.ts";
import { checkHeldFields } from "./held-fields.ts";
import { hasClientTools, serverToolsFor } from "./server-tools.ts";
import { refuseSteering } from "./steering-fields.ts";
import { upstreamBody } from "./upstream-body.ts";

/** Dependencies of completions. */
export interface CompletionDeps {
  readonly modelCalls: ModelCalls;
  readonly catalogue: ToolCatalogue;
  readonly executions: Client<typeof ExecutionService>;
  readonly defaultModel: string;
  /** The most model calls in one completion. */
  readonly maxIterations: number;
  /** Additional fields that the operator allows in requests to the endpoint. */
  readonly extraFields: ReadonlySet<string>;
  /** The largest body, in bytes. */
  readonly bodyLimit: number;
  readonly toolRefusals: ToolRefusals;
}

/** A client's request. */
export interface CompletionRequest {
  /** OpenAI's request as JSON text in UTF-8. */
  readonly body: Uint8Array;
  /** Whether the server's tools are offered; takes precedence over the body. */
  readonly serverTools: ServerTools;
}

/** The caller of a completion. */
export interface CompletionCall {
  readonly identity: Identity;
  /** For calls to other services in the caller's name. */
  readonly options: CallOptions;
  readonly signal: AbortSignal;
}

/** A completion in progress: the client's request, and the body of the next model call. */
export interface PendingCompletion {
  readonly body: CompletionBody;
  readonly model: string;
  /** The model may call the server's tools. */
  serverTools: boolean;
  request: Uint8Array;
  /** The request without fields of earlier rounds that their endpoint wants back; undefined: there are none. */
  bareRequest?: Uint8Array;
  /** The side that gave those fields. */
  giver?: Giver;
  /** The side that the last call was made to. */
  receiver?: Giver;
  /** The request without the server's tools, as long as it may take the place of one with them. */
  plainRequest?: () => Uint8Array;
}

/** Fields by which some endpoints let a request name models besides `model`, in any case. */
const otherModelFields = /^(?:model|models|fallbacks|\w+_fallbacks)$/i;

/**
 * A credential's limits: `money` when it has a spend ceiling, which is computed with one model's price, or `models`.
 */
function boundsOf({ allowedModels, spendLimitMicros }: Identity): "models" | "money" | undefined {
  if (spendLimitMicros > 0n) return "money";
  return allowedModels.length > 0 && !allowedModels.includes("*") ? "models" : undefined;
}

/** Refuses a request for models that its token may not use. */
function checkModel({ allowedModels }: Identity, body: CompletionBody, model: string): void {
  if (!allows(allowedModels, model)) {
    throw fail(ErrorReason.MODEL_NOT_ALLOWED, `This token may not use the model ${JSON.stringify(model)}.`, { param: "model" });
  }
  const field = Object.keys(body).find((key) => key !== "model" && otherModelFields.test(key));
  if (field !== undefined) {
    throw fail(ErrorReason.MODEL_NOT_ALLOWED, `${field}: this token may name its model in "model" only`, { param: field });
  }
}

/** Reads a request and refuses fields that its credential may not send. */
function readRequest(deps: CompletionDeps, { identity }: CompletionCall, bytes: Uint8Array) {
  if (bytes.byteLength > deps.bodyLimit) {
    throw fail(ErrorReason.TOO_LARGE, `body: is larger than the ${deps.bodyLimit} bytes that this server accepts`, {
      param: "body",
    });
  }
  const text = textOf(bytes);
  const json = readJson(bytes, text);
  const members = refuseSteering(json.value, deps.extraFields);
  const body = checkBody(json.value);
  const model = body.model || deps.defaultModel;
  const bounds = boundsOf(identity);
  if (bounds === undefined) return { body, json, model, rewrite: isAmbiguous(bytes, text, members) };
  checkModel(identity, body, model);
  checkHeldFields(json.value, bounds, deps.extraFields);
  return { body, json, model, rewrite: true };
}

/** Validates a request and prepares its first model call. Throws INVALID_REQUEST, TOO_LARGE and MODEL_NOT_ALLOWED. */
export async function openCompletion(
  deps: CompletionDeps,
  call: CompletionCall,
  { body: bytes, serverTools }: CompletionRequest,
  streamed: boolean,
): Promise<PendingCompletion> {
  const { body, json, model, rewrite } = readRequest(deps, call, bytes);
  const offer = serverToolsFor(serverTools, body);
  const isOffered = offer === "demanded" || (offer === "offered" && !deps.toolRefusals.has(model));
  const toolsJson = isOffered
    ? await deps.catalogue.definitionsJson(call.identity, { ...call.options, unattended: true })
    : undefined;
  if (toolsJson !== undefined && (body.n ?? 1) > 1) {
    throw fail(
      ErrorReason.INVALID_REQUEST,
      "n: more than one answer is possible only without the server's tools; send X-Server-Tools: off",
      { param: "n" },
    );
  }
  const requestWith = (tools: string | undefined) =>
    upstreamBody(
      { bytes, json, body },
      {
        model: body.model ? undefined : model,
        toolsJson: tools,
        withoutTools: tools === undefined && !hasClientTools(body),
        streamed,
        rewrite,
      },
    );
  return {
    body,
    model,
    serverTools: toolsJson !== undefined,
    request: requestWith(toolsJson),
    plainRequest: toolsJson !== undefined && offer === "offered" ? () => requestWith(undefined) : undefined,
  };
}
