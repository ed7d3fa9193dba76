import { ErrorReason } from "@turnwright/platform/errors";
import { createOutbound, type Outbound } from "@turnwright/platform/outbound/outbound";

/** The guard in front of fetch_url and http_request, which speaks of what it refuses as of a fault of the call's arguments. */
export function createToolOutbound(options: Omit<Parameters<typeof createOutbound>[0], "reasons">): Outbound {
  return createOutbound({
    ...options,
    reasons: { refused: ErrorReason.INVALID_TOOL_ARGUMENTS, failed: ErrorReason.TOOL_FAILED },
  });
}
