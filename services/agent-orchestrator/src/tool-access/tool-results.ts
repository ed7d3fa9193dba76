import { create } from "@bufbuild/protobuf";
import { ConnectError } from "@connectrpc/connect";
import { type ExecutionResult, ExecutionResultSchema } from "@turnwright/contract/tool/v1/execution_service";
import { ExecutionStatus } from "@turnwright/contract/tool/v1/tool";

/** The content of a call that did not run, or of which no result is known, for the model. */
export function errorText(error: string): string {
  return JSON.stringify({ error });
}

/** The content of a call's result for the model: the tool's JSON, or `{"error":…}`. */
export function resultText(result: ExecutionResult): string {
  return result.status === ExecutionStatus.SUCCESS ? result.output : errorText(result.error || "The call failed.");
}

/** The most bytes of a round's results: with the next answer they are stored in one commit. */
const maxResultBytes = 4_194_304;

/** The results of a round's calls for the model. Results that are too large together with those before are left out. */
export function resultTexts(results: readonly ExecutionResult[]): string[] {
  let left = maxResultBytes;
  return results.map((result) => {
    const text = resultText(result);
    const size = Buffer.byteLength(text);
    const fits = size <= left;
    left = Math.max(0, left - size);
    if (fits) return text;
    return errorText(`The call ran. Its result of ${size} bytes is left out: the results are too large together.`);
  });
}

/** The result of a call that the executor refused for good, or whose result is larger than a message of the mesh. */
export function refusedResult(callId: string, error: unknown): ExecutionResult {
  const why = error instanceof ConnectError ? error.rawMessage : "unexpected error";
  const refusal = `The executor did not take this call, or could not return its result: ${why}`;
  return create(ExecutionResultSchema, { callId, status: ExecutionStatus.REFUSED, error: refusal });
}
