import { port } from "@turnwright/platform/env";
import { grpcEnv } from "@turnwright/platform/mesh-env";
import { postgresEnv } from "@turnwright/platform/postgres";
import { z } from "zod";

/** The environment of the conversation service. */
export const conversationConfig = z.object({
  ...grpcEnv,
  ...postgresEnv,
  GRPC_PORT: port(9102),
});

/** The parsed environment. */
export type ConversationConfig = z.output<typeof conversationConfig>;
