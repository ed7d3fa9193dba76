/**
 * Prints the files of the product whose functions run while a message is answered, as a JSON array of paths from the
 * repository's root for each message: `node tests/walks/trace.ts <data directory> <message> …`. A leading `~` marks
 * files that also run while the system is idle.
 */
import { Session } from "node:inspector/promises";
import { join, relative } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { startAllInOne } from "@turnwright/launcher/all-in-one";

const root = join(import.meta.dirname, "../..");
const [dataDir = "", ...messages] = process.argv.slice(2);
const system = await startAllInOne({
  SERVER_HOST: "127.0.0.1",
  SERVER_PORT: "0",
  TURNWRIGHT_DATA_DIR: dataDir,
  LOG_LEVEL: "silent",
});

async function post(path: string, body: object, token?: string): Promise<Record<string, string>> {
  const headers = { "content-type": "application/json", ...(token === undefined ? {} : { authorization: `Bearer ${token}` }) };
  const url = `http://127.0.0.1:${system.port}${path}`;
  const response = await fetch(url, { method: "POST", headers, body: JSON.stringify(body) });
  const { data } = (await response.json()) as { data: Record<string, string> };
  return data;
}

/** The files in which a named function runs during `work`. */
async function filesDuring(work: () => Promise<unknown>): Promise<Set<string>> {
  const session = new Session();
  session.connect();
  await session.post("Profiler.enable");
  await session.post("Profiler.startPreciseCoverage", { callCount: true, detailed: false });
  await work();
  const { result } = await session.post("Profiler.takePreciseCoverage");
  session.disconnect();
  const files = result.flatMap(({ url, functions }) => {
    const ran = functions.some(({ functionName, ranges }) => functionName !== "" && (ranges[0]?.count ?? 0) > 0);
    return ran && url.startsWith("file:") ? [relative(root, fileURLToPath(url)).replaceAll("\\", "/")] : [];
  });
  return new Set(files.filter((file) => /^(?:gateway|packages\/platform|services\/[\w-]+)\/src\//.test(file)));
}

await post("/v1/auth/register", { email: "walk@example.com", password: "SecurePass123", name: "Walk" });
const { access_token: token } = await post("/v1/auth/login", { email: "walk@example.com", password: "SecurePass123" });
const { conversation_id: id } = await post("/v1/conversations", { message: "Hello" }, token);
const say = (message: string) => post(`/v1/conversations/${id}/messages`, { message }, token);
// Modules that load at their first use are no part of a walk.
for (const message of messages) await say(message);
// Longer than the pauses of every loop, so that none of them is taken for a part of a walk.
const idle = await filesDuring(() => delay(6_000));
const walks: string[][] = [];
for (const message of messages) {
  const busy = await filesDuring(() => say(message));
  walks.push([...busy].sort().map((file) => (idle.has(file) ? `~${file}` : file)));
}
console.log(JSON.stringify(walks));
await system.close();
