import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { createLogger } from "../logger.ts";
import { findPlace } from "./place.ts";
import { runningEmbeddedUrl } from "./running-server.ts";

const logger = createLogger({ service: "test", level: "silent" });

test.each([
  ["that has just begun to start", "4242\n"],
  ["that was killed", "4242\n/data\n1700000000\n1\n"],
])("a server %s has no address", async (_state, pidFile) => {
  const dir = mkdtempSync(join(tmpdir(), "turnwright-running-"));
  try {
    const { root, data } = findPlace(dir, logger);
    mkdirSync(data, { recursive: true });
    writeFileSync(join(root, "password"), "secret\n");
    writeFileSync(join(data, "postmaster.pid"), pidFile);
    expect(await runningEmbeddedUrl(dir, logger)).toBeUndefined();
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
});
