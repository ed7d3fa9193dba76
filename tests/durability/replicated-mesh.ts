import type { ModelServer } from "@turnwright/testing/model-server";
import type { Part } from "../mesh/part.ts";
import { startMeshProcesses } from "../mesh/processes.ts";
import { startPacedModel } from "./paced-model.ts";

/** A mesh of processes with the same number of replicas of each part. */
export interface ReplicatedMesh {
  readonly replicas: readonly Part[];
  /** The addresses of the gateways. */
  readonly gateways: readonly string[];
  stop(): Promise<void>;
}

/** The surroundings of a mesh. */
export interface MeshOptions {
  /** Directory for the logs of its processes. */
  dir: string;
  databaseUrl: string;
  redisUrl: string;
  /** SERVER_SHUTDOWN_TIMEOUT of each process. */
  limit: string;
  /** `host:port` that tools may reach although it is a loopback address. */
  allowedHost?: string;
  /** Replicas of each part; default two. */
  replicas?: number;
  /** The model; default: its own paced one. It is closed with the mesh. */
  model?: ModelServer;
  /** Environment of each process. */
  env?: Readonly<Record<string, string>>;
}

/**
 * Starts gateway, auth, conversation, orchestrator and executor, by default two of each, with existing stores and, by
 * default, its own model.
 */
export async function startReplicatedMesh(options: MeshOptions): Promise<ReplicatedMesh> {
  const { dir, databaseUrl, redisUrl, replicas: count = 2 } = options;
  const model = options.model ?? (await startPacedModel());
  try {
    const mesh = await startMeshProcesses({
      dir,
      databaseUrl,
      redisUrl,
      modelUrl: model.url,
      replicas: { auth: count, conversation: count, "tool-executor": count, "agent-orchestrator": count, gateway: count },
      env: {
        DB_MAX_OPEN_CONNS: "8",
        SERVER_SHUTDOWN_TIMEOUT: options.limit,
        TOOLS_ALLOWED_HOSTS: options.allowedHost ?? "",
        ...options.env,
      },
    });
    return {
      replicas: mesh.parts,
      gateways: mesh.gateways,
      async stop() {
        await mesh.stop();
        await model.close();
      },
    };
  } catch (error) {
    await model.close();
    throw error;
  }
}
