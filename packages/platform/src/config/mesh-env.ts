import { z } from "zod";
import { logLevels } from "../logger.ts";
import { duration, integer, list, secret } from "./env.ts";
import { type Secrets, secretsOf } from "./secrets.ts";

/** Environment variables of every part of the mesh, to spread into its schema. */
export const meshEnv = {
  /** Shared by all parts: proves that a caller belongs to the mesh, and signs approvals. */
  MESH_SECRET: z
    .string({ error: "is required: at least 32 random characters, the same for every part" })
    .min(32, "must have at least 32 characters"),
  /** A second secret that is accepted and signs nothing, while MESH_SECRET is being replaced. */
  MESH_SECRET_ACCEPTED: secret(),
  /** Address of auth: `host:port`, several separated by commas, or `dns:///name:port`. */
  AUTH_ADDR: list("localhost:9101"),
  /**
   * Mutual TLS between the parts, all three or none: PEM files of the mesh's certificate authority, this part's
   * certificate and its key.
   */
  MESH_TLS_CA: z.string().optional(),
  MESH_TLS_CERT: z.string().optional(),
  MESH_TLS_KEY: z.string().optional(),
  /** Largest request body, in bytes; the same for every part. Messages between the parts are limited accordingly. */
  SERVER_BODY_LIMIT: integer(1_048_576, { min: 1024, max: 67_108_864 }),
  /** How long requests in flight may continue after SIGTERM. */
  SERVER_SHUTDOWN_TIMEOUT: duration("30s"),
  LOG_LEVEL: z.enum(logLevels).default("info"),
};

/** The mesh's secret, with the one accepted beside it. */
export function meshSecrets(config: { MESH_SECRET: string; MESH_SECRET_ACCEPTED?: string | undefined }): Secrets {
  return secretsOf(config.MESH_SECRET, config.MESH_SECRET_ACCEPTED);
}

/**
 * Additional environment variables of a service on the gRPC plane; each service adds GRPC_PORT with its own default.
 */
export const grpcEnv = {
  ...meshEnv,
  GRPC_HOST: z.string().default("0.0.0.0"),
};
