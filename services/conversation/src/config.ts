import { duration, list, port } from "@turnwright/platform/config/env";
import { grpcEnv } from "@turnwright/platform/config/mesh-env";
import { postgresEnv } from "@turnwright/platform/config/postgres-env";
import { redisEnv } from "@turnwright/platform/config/redis-env";
import { z } from "zod";

/** The environment of the conversation service. */
export const conversationConfig = z.object({
  ...grpcEnv,
  ...postgresEnv,
  ...redisEnv,
  GRPC_PORT: port(9102),
  /** Milliseconds that a tool call waits for a person's decision before it counts as rejected; 0: forever. */
  APPROVAL_EXPIRY: duration("168h", { never: true }),
  /** Hosts (`host` or `host:port`) that webhooks may reach although they are private or use plain HTTP. */
  WEBHOOK_ALLOWED_HOSTS: list(),
});

/** The parsed environment. */
export type ConversationConfig = z.output<typeof conversationConfig>;
