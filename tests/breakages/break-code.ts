/**
 * Preloaded into a process: loads the file that the environment names with its passages replaced (broken-source.ts).
 */
import { registerHooks } from "node:module";
import { brokenFile, brokenSource } from "./broken-source.ts";

const broken = brokenFile();

registerHooks({
  load(url, context, nextLoad) {
    const loaded = nextLoad(url, context);
    if (broken === undefined || !url.endsWith(`/${broken.file}`)) return loaded;
    return { ...loaded, source: brokenSource(broken, String(loaded.source)) };
  },
});
