import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { createTestDatabase, type TestDatabase } from "@turnwright/testing/database";
import { testRedis } from "@turnwright/testing/redis";
import { afterAll, beforeAll, describe } from "vitest";
import { describeForeignGrpc } from "../clients/foreign-grpc.ts";
import { restApi } from "./api.ts";
import { connectApi } from "./connect-api.ts";
import { bodyLimit, describeSystem } from "./suite.ts";
import { type System, startSystem } from "./system.ts";

const redis = await testRedis("the mesh of processes, also with a foreign gRPC client");
const dataDir = mkdtempSync(join(tmpdir(), "turnwright-e2e-"));
let database: TestDatabase;

beforeAll(async () => {
  database = await createTestDatabase({ services: [] });
});
afterAll(async () => {
  await database?.drop();
  rmSync(dataDir, { recursive: true, force: true });
});

const start = (allowedHost: string) =>
  startSystem({
    shape: "mesh",
    env: {
      DATABASE_URL: database.url,
      REDIS_URL: redis ?? "",
      TURNWRIGHT_DATA_DIR: dataDir,
      TOOLS_ALLOWED_HOSTS: allowedHost,
      SERVER_BODY_LIMIT: String(bodyLimit),
    },
  });

describe.skipIf(redis === undefined)("a mesh of processes", () => {
  const clients = {
    REST: (system: System) => restApi(system.baseUrl),
    Connect: (system: System) => connectApi(system.baseUrl),
    gRPC: (system: System) => connectApi(system.baseUrl, createGrpcTransport({ baseUrl: system.baseUrl })),
  };
  describeSystem("a mesh of processes", start, clients, describeForeignGrpc);
});
