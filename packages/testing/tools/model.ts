/**
 * Starts the mock model, an OpenAI-compatible endpoint whose faults are chosen by the model's name: `npm run model`.
 *
 *   npm run model                       on port 8090
 *   npm run model -- --port 0           on any free port
 *   npm run model -- --strict           refuses what OpenAI refuses
 *   npm run model -- --key sk-secret    refuses requests without this key
 *
 * Prints its address. docs/model-server.md lists the modes.
 */
import { parseArgs } from "node:util";
import { startMockModel } from "../src/mock-model/mock-model.ts";

const { values } = parseArgs({
  options: {
    port: { type: "string", default: "8090" },
    host: { type: "string", default: "127.0.0.1" },
    strict: { type: "boolean", default: false },
    key: { type: "string" },
  },
});
const port = Number(values.port);
if (!Number.isInteger(port) || port < 0 || port > 65_535) {
  console.error(`--port: ${values.port} is no port; give a number from 0 (any free port) to 65535.`);
  process.exit(2);
}
const model = await startMockModel({ port, host: values.host, isStrict: values.strict, apiKey: values.key });
console.log(`${model.url}/v1`);
const stop = () => void model.close().then(() => process.exit(0));
process.once("SIGINT", stop);
process.once("SIGTERM", stop);
