import { ErrorReason } from "@turnwright/platform/errors";
import { createOutbound, type Outbound } from "@turnwright/platform/outbound/outbound";

/** The guard of fetch_url and http_request. It reports a refused address as an invalid argument of the call. */
export function createToolOutbound(options: Omit<Parameters<typeof createOutbound>[0], "reasons">): Outbound {
  return createOutbound({
    ...options,
    reasons: { refused: ErrorReason.INVALID_TOOL_ARGUMENTS, failed: ErrorReason.TOOL_FAILED },
  });
}
