import type { SecurityBreakages } from "./breakage.ts";

const sandbox = "services/tool-executor/src/sandbox";

/** Guards around the processes of tools. */
export const sandboxes: SecurityBreakages = {
  "sandbox-sqlite": {
    file: `${sandbox}/launch.ts`,
    changes: [{ from: '"--no-experimental-sqlite",', to: "" }],
    suite: [`${sandbox}/walls.test.ts`],
    test: "Node's permissions alone",
  },
  "sandbox-links-of-the-workspace": {
    file: `${sandbox}/launch.ts`,
    changes: [{ from: 'packageFolder("zod"),', to: 'join(packageFolder("zod"), ".."),' }],
    suite: [`${sandbox}/walls.test.ts`, `${sandbox}/escapes.test.ts`],
    test: "Node's permissions alone",
  },
  "sandbox-kernel-wall": {
    file: `${sandbox}/wall.ts`,
    changes: [{ from: 'if (wall.kind === "none") return', to: "if (wall.kind) return" }],
    suite: [`${sandbox}/walls.test.ts`],
    test: "past the kernel's wall",
  },
  "sandbox-landlock": {
    file: `${sandbox}/wall.ts`,
    changes: [{ from: 'wall.landlock ? "landlock" : "without"', to: '"without"' }],
    suite: [`${sandbox}/walls.test.ts`],
    test: "past the kernel's wall",
  },
  "sandbox-self-test": {
    file: `${sandbox}/open-wall.ts`,
    changes: [{ from: "open.length === 0 ? undefined", to: "open ? undefined" }],
    suite: [`${sandbox}/open-wall.test.ts`],
    test: "found out by its self-test",
  },
  "sandbox-require": {
    file: `${sandbox}/open-wall.ts`,
    changes: [{ from: 'if (mode === "require" && opened.because !== undefined)', to: "if (opened === undefined)" }],
    suite: [`${sandbox}/open-wall.test.ts`],
    test: "does not start",
  },
  "sandbox-hosts": {
    file: `${sandbox}/egress.ts`,
    changes: [{ from: "if (!namesHost(this.#hosts, target))", to: "if (!target)" }],
    suite: [`${sandbox}/egress.test.ts`],
    test: "does not declare|each hop|later process",
  },
  "sandbox-tools-folder": {
    file: "services/tool-executor/src/registry/tools-folder.ts",
    changes: [{ from: "else if (entry.isSymbolicLink()) faults.push(...(await linkFaults(folder, path)));", to: "" }],
    suite: ["services/tool-executor/src/registry/tools-folder.test.ts"],
  },
};
