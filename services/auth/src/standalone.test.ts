import { loadConfig } from "@turnwright/platform/config/env";
import { createLogger } from "@turnwright/platform/logger";
import { openPorts } from "@turnwright/platform/ports/open-ports";
import { createPool } from "@turnwright/platform/postgres/pool";
import { openServiceDatabase } from "@turnwright/platform/postgres/service-database";
import { createTestDatabase, type TestDatabase } from "@turnwright/testing/database";
import { afterAll, beforeAll, expect, test } from "vitest";
import { authConfig } from "./index.ts";
import { startStandaloneAuth } from "./standalone.ts";

const logger = createLogger({ service: "test", level: "silent" });
const environment = { MESH_SECRET: "a-secret-of-32-characters-for-tests" };

let database: TestDatabase;
beforeAll(async () => {
  database = await createTestDatabase({ services: ["auth"] });
});
afterAll(() => database.drop());

/** Ports within this process that note when a subscription ends and when they close. */
function notingPorts(noted: string[]): typeof openPorts {
  return async ({ busSecret }) => {
    const ports = await openPorts({ busSecret, logger });
    return {
      ...ports,
      bus: {
        publish: (topic, payload) => ports.bus.publish(topic, payload),
        async subscribe(topic, listener) {
          const unsubscribe = await ports.bus.subscribe(topic, listener);
          return async () => {
            noted.push("unsubscribed");
            await unsubscribe();
          };
        },
      },
      async close() {
        noted.push("ports closed");
        await ports.close();
      },
    };
  };
}

test("auth as a process of its own ends the service before its Redis connection, and leaves no database connection behind", async () => {
  const noted: string[] = [];
  const config = loadConfig(authConfig, { ...environment, REDIS_URL: "redis://localhost" });
  const opened = openServiceDatabase({ url: database.url, schema: "auth", max: 4, logger });
  const auth = await startStandaloneAuth({ config, logger }, opened, notingPorts(noted));
  await auth.ready();
  await auth.close();
  await opened.end();
  expect(noted).toEqual(["unsubscribed", "ports closed"]);
  const pool = createPool({ url: database.url, max: 1, applicationName: "test", logger });
  // A backend is listed until it has noticed that its client is gone.
  const connections = async () =>
    (await pool.query("select from pg_stat_activity where datname = current_database() and application_name = 'turnwright-auth'"))
      .rowCount;
  await expect.poll(connections, { timeout: 5_000, interval: 20 }).toBe(0);
  await pool.end();
});

test("auth as a process of its own does not start without Redis", async () => {
  const opened = openServiceDatabase({ url: database.url, schema: "auth", max: 1, logger });
  const start = startStandaloneAuth({ config: loadConfig(authConfig, environment), logger }, opened);
  await expect(start).rejects.toThrow("REDIS_URL");
  await opened.end();
});
