import { defineConfig, mergeConfig } from "vitest/config";
import ordinary from "../../vitest.config.ts";
import { testedEnvironment } from "../tested-environment.ts";
import { brokenFile, brokenSource } from "./broken-source.ts";

const broken = brokenFile();

/** The usual configuration for tests on broken code, in the test processes and in the processes that they start. */
export default mergeConfig(
  ordinary,
  defineConfig({
    plugins: [
      {
        name: "broken-code",
        enforce: "pre",
        transform: (code, id) =>
          broken !== undefined && id.endsWith(`/${broken.file}`) ? brokenSource(broken, code) : undefined,
      },
    ],
    // The cache of transformed modules is keyed by the original source: it would serve whole modules for broken ones
    // and vice versa.
    test: { env: testedEnvironment(broken), fsModuleCache: false },
  }),
);
