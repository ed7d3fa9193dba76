import { serveStores } from "@turnwright/testing/store-servers";
import { openUntestedList } from "@turnwright/testing/untested";
import type { TestProject } from "vitest/node";

/**
 * Offers the run's PostgreSQL and Redis to all test files; each starts when a test first asks for it, and ends with the
 * run. Closes the run with one list of what was not tested.
 */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const stores = await serveStores();
  const untested = openUntestedList();
  project.provide("storesAddress", stores.address);
  project.provide("untestedFile", untested.file);
  return async () => {
    await stores.stop();
    untested.close((text) => process.stderr.write(text));
  };
}
