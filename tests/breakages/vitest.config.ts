import { defineConfig, mergeConfig } from "vitest/config";
import ordinary from "../../vitest.config.ts";
import { testedEnvironment } from "../tested-environment.ts";
import { brokenFile, brokenSource } from "./broken-source.ts";

const broken = brokenFile();

/** The tests as ever on code that lacks something, in their own processes and in those that they start. */
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
    // The cache of transformed modules goes by their sources, and would give out whole ones for broken ones, and the
    // other way round.
    test: { env: testedEnvironment(broken), fsModuleCache: false },
  }),
);
