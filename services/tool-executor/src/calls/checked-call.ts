import { hashArguments } from "@turnwright/platform/identity/grant";
import type { RegisteredTool } from "../tool-definition/registered-tool.ts";

/** Tells calls of one run apart: the same id with another tool or other arguments is another call. */
export interface CallIdentity {
  readonly callId: string;
  readonly toolName: string;
  /** SHA-256 in hex of the arguments' text. */
  readonly argumentsHash: string;
}

/** A call that may run. It carries its arguments from the check to the tool; nothing on the way repacks them. */
export interface CheckedCall extends CallIdentity {
  readonly registered: RegisteredTool;
  /** JSON text, byte for byte as it came: the text that a person approved, and that the ledger stores. */
  readonly argumentsText: string;
  /** The value of that text, which the tool gets. */
  readonly arguments: Record<string, unknown>;
}

/** A call that may not run. */
export interface RefusedCall extends CallIdentity {
  /** The reason, in words for the model. */
  readonly refusal: string;
  /** The tool's version, when the call is refused only because no person has approved it for that version. */
  readonly unapprovedVersion?: string;
}

/** Checks a call's arguments against its tool's schema. Throws INVALID_TOOL_ARGUMENTS. */
export function checkArguments(registered: RegisteredTool, callId: string, argumentsText: string): CheckedCall {
  return {
    callId,
    toolName: registered.tool.name,
    registered,
    argumentsText,
    argumentsHash: hashArguments(argumentsText),
    arguments: registered.parse(argumentsText),
  };
}
