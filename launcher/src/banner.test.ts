import { expect, test } from "vitest";
import { banner } from "./banner.ts";

test("the banner names the directory of the embedded database, wherever it lies", () => {
  const stores = { database: "embedded", redis: "memory", model: "demo" } as const;
  const databaseDirectory = "/var/lib/turnwright/5f2c-01";
  expect(banner({ port: 8080, stores, databaseDirectory })).toContain(`embedded PostgreSQL in ${databaseDirectory} (set`);
  const external = banner({ port: 8080, stores: { ...stores, database: "external" }, databaseDirectory: undefined });
  expect(external).toContain("Database   the configured PostgreSQL\n");
});
