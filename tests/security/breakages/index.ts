import type { SecurityBreakages } from "./breakage.ts";
import { inputs } from "./inputs.ts";
import { mesh } from "./mesh.ts";
import { starter } from "./starter.ts";

/** All guards that can be taken out, by name: `npm run security -- --break <name>`. */
export const securityBreakages: SecurityBreakages = { ...inputs, ...mesh, ...starter };
