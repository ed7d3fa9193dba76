import type { ExecutionResult } from "@turnwright/contract/tool/v1/execution_service";
import { ExecutionStatus } from "@turnwright/contract/tool/v1/tool";

/** The content of a call that did not run, or of which no result is known, for the model. */
export function errorText(error: string): string {
  return JSON.stringify({ error });
}

/** The content of a call's result for the model: the tool's JSON, or `{"error":…}`. */
export function resultText(result: ExecutionResult): string {
  return result.status === ExecutionStatus.SUCCESS ? result.output : errorText(result.error || "The call failed.");
}
