import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { nodeFlagsOf } from "./node-flags.ts";

const root = join(import.meta.dirname, "../..");
const read = (file: string) => readFileSync(join(root, file), "utf8");

const mains = {
  gateway: "gateway/src/main.ts",
  auth: "services/auth/src/main.ts",
  conversation: "services/conversation/src/main.ts",
  "agent-orchestrator": "services/agent-orchestrator/src/main.ts",
  "tool-executor": "services/tool-executor/src/main.ts",
};

test("the gateway bounds its young generation, the other parts keep the default of Node.js", () => {
  expect(Object.keys(mains).filter((part) => nodeFlagsOf(part).length > 0)).toEqual(["gateway"]);
  expect(nodeFlagsOf("gateway")).toEqual(["--max-semi-space-size=8"]);
});

describe.each(Object.entries(mains))("the flags of %s", (part, main) => {
  const flags = nodeFlagsOf(part);

  test("are those of its script", () => {
    const { scripts } = JSON.parse(read("package.json")) as { scripts: Record<string, string> };
    expect(scripts[`start:${part}`]).toBe(["node", ...flags, "--env-file-if-exists=.env", main].join(" "));
  });

  test("are those of its container", () => {
    expect(read("docker-compose.yml")).toContain(`command: ${JSON.stringify(["node", ...flags, main]).replaceAll(",", ", ")}\n`);
  });
});

test("the image of the mesh starts a gateway with the gateway's flags", () => {
  const command = JSON.stringify(["node", ...nodeFlagsOf("gateway"), mains.gateway]).replaceAll(",", ", ");
  expect(read("Dockerfile")).toContain(`CMD ${command}\n`);
});
