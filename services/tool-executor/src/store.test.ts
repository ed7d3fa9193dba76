import { migrate } from "@turnwright/platform/migrations";
import { createTestDatabase } from "@turnwright/testing/database";
import { expect, test } from "vitest";

test("the ledger's migrations go up, down and up again", async () => {
  const database = await createTestDatabase({ services: ["tool"] });
  try {
    const names = ["000001_create_tool_executions"];
    const options = { url: database.url, service: "tool" } as const;
    expect(await migrate({ ...options, direction: "down", count: 1 })).toEqual(names);
    expect(await migrate({ ...options, direction: "up" })).toEqual(names);
  } finally {
    await database.drop();
  }
});
