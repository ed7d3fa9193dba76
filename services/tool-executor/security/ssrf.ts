/** Row S7: no tool reaches the inside. `node services/tool-executor/security/ssrf.ts` */
import { attackInside } from "../fixtures/ssrf-attack.ts";

const { vectors, hits, accepted } = await attackInside();
const isKept = hits.length === 0 && accepted.length === 0 && vectors >= 60;
console.log(
  `S7  ${isKept ? "kept  " : "BROKEN"}  ${vectors} vectors through fetch_url and http_request: ${hits.length} hits, ${accepted.length} accepted`,
);
for (const line of [...hits, ...accepted].slice(0, 20)) console.log(`    ${line}`);
if (!isKept) process.exitCode = 1;
