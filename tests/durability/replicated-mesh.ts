import type { ModelServer } from "@turnwright/testing/model-server";
import type { Part } from "../mesh/part.ts";
import { startMeshProcesses } from "../mesh/processes.ts";
import { startPacedModel } from "./paced-model.ts";

/** A mesh of processes with as many replicas of each part. */
export interface ReplicatedMesh {
  readonly replicas: readonly Part[];
  /** Where the gateways listen. */
  readonly gateways: readonly string[];
  stop(): Promise<void>;
}

/** Where a mesh stands. */
export interface MeshOptions {
  /** Where the logs of its processes go. */
  dir: string;
  databaseUrl: string;
  redisUrl: string;
  /** SERVER_SHUTDOWN_TIMEOUT of each process. */
  limit: string;
  /** `host:port` that tools may reach although it is a loopback address. */
  allowedHost?: string;
  /** Of each part; two unless given. */
  replicas?: number;
  /** The model that it asks; one of its own unless given. It closes with the mesh. */
  model?: ModelServer;
  /** Goes to each process. */
  env?: Readonly<Record<string, string>>;
}

/** Starts gateway, auth, conversation, orchestrator and executor, twice each unless told otherwise, against stores that are there and a model of its own. */
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
