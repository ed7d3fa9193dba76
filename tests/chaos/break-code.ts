/** Preloaded into a process of the mesh: takes the mechanism that CHAOS_BREAK names out of the code as it is loaded. */
import { registerHooks } from "node:module";
import { breakages } from "./breakages.ts";

const name = process.env.CHAOS_BREAK ?? "";
const breakage = breakages[name];
if (breakage === undefined) throw new Error(`CHAOS_BREAK: there is no breakage ${JSON.stringify(name)}`);

registerHooks({
  load(url, context, nextLoad) {
    const loaded = nextLoad(url, context);
    if (!url.endsWith(`/${breakage.file}`)) return loaded;
    let source = String(loaded.source);
    for (const { from, to } of breakage.changes) {
      const parts = source.split(from);
      if (parts.length !== 2) throw new Error(`${breakage.file} reads ${JSON.stringify(from)} in ${parts.length - 1} places`);
      source = parts.join(to);
    }
    return { ...loaded, source };
  },
});
