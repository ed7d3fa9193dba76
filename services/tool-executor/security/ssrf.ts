/** Row S7: no tool reaches an internal address. `node services/tool-executor/security/ssrf.ts` */
import { attackInside } from "../testing/ssrf-attack.ts";

const { vectors, hits, accepted, passed } = await attackInside();
const isKept = [...hits, ...accepted, ...passed].length === 0 && vectors >= 60;
console.log(
  `S7  ${isKept ? "kept  " : "BROKEN"}  ${vectors} vectors through fetch_url and http_request: ${hits.length} hits, ` +
    `${accepted.length} accepted, ${passed.length} addresses beyond this machine`,
);
for (const line of [...hits, ...accepted, ...passed].slice(0, 20)) console.log(`    ${line}`);
if (!isKept) process.exitCode = 1;
