import { serveStores } from "@turnwright/testing/store-servers";
import type { TestProject } from "vitest/node";

/** Offers the run's PostgreSQL and Redis to all test files; each starts when a test first asks for it, and ends with the run. */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const stores = await serveStores();
  project.provide("storesAddress", stores.address);
  return stores.stop;
}
