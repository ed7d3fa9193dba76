import { duration, list, port } from "@turnwright/platform/config/env";
import { grpcEnv } from "@turnwright/platform/config/mesh-env";
import { postgresEnv } from "@turnwright/platform/config/postgres-env";
import { z } from "zod";

/** The environment of the conversation service. */
export const conversationConfig = z.object({
  ...grpcEnv,
  ...postgresEnv,
  GRPC_PORT: port(9102),
  /** How long a tool call waits for a person before it counts as rejected, in milliseconds; 0: for ever. */
  APPROVAL_EXPIRY: duration("168h", { never: true }),
  /** `host` or `host:port` to which webhooks may go although the address is private, and by plain http. */
  WEBHOOK_ALLOWED_HOSTS: list(),
});

/** The parsed environment. */
export type ConversationConfig = z.output<typeof conversationConfig>;
