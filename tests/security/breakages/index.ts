import { admission } from "./admission.ts";
import type { SecurityBreakages } from "./breakage.ts";
import { connections } from "./connections.ts";
import { endpoints } from "./endpoints.ts";
import { inputs } from "./inputs.ts";
import { keys } from "./keys.ts";
import { limits } from "./limits.ts";
import { mesh } from "./mesh.ts";
import { races } from "./races.ts";
import { routeGuards } from "./routes.ts";
import { sandboxes } from "./sandbox.ts";
import { spendingGuards } from "./spending.ts";
import { starter } from "./starter.ts";

/** All guards that can be removed, by name: `npm run security -- --break <name>`. */
export const securityBreakages: SecurityBreakages = {
  ...admission,
  ...connections,
  ...endpoints,
  ...inputs,
  ...keys,
  ...limits,
  ...mesh,
  ...races,
  ...routeGuards,
  ...sandboxes,
  ...spendingGuards,
  ...starter,
};
