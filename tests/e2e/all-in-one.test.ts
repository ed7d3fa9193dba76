import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll } from "vitest";
import { restApi } from "./api.ts";
import { bodyLimit, describeSystem } from "./suite.ts";
import { startSystem } from "./system.ts";

const dataDir = mkdtempSync(join(tmpdir(), "turnwright-e2e-"));
afterAll(() => rmSync(dataDir, { recursive: true, force: true }));

describeSystem(
  "one process with an embedded PostgreSQL",
  (allowedHost) =>
    startSystem({
      shape: "all-in-one",
      env: { TURNWRIGHT_DATA_DIR: dataDir, TOOLS_ALLOWED_HOSTS: allowedHost, SERVER_BODY_LIMIT: String(bodyLimit) },
    }),
  { REST: (system) => restApi(system.baseUrl) },
);
