import { list, port } from "@turnwright/platform/env";
import { grpcEnv } from "@turnwright/platform/mesh-env";
import { postgresEnv } from "@turnwright/platform/postgres";
import { z } from "zod";

/** The environment of the conversation service. */
export const conversationConfig = z.object({
  ...grpcEnv,
  ...postgresEnv,
  GRPC_PORT: port(9102),
  /** `host` or `host:port` to which webhooks may go although the address is private, and by plain http. */
  WEBHOOK_ALLOWED_HOSTS: list(),
});

/** The parsed environment. */
export type ConversationConfig = z.output<typeof conversationConfig>;
