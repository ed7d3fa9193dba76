#!/usr/bin/env node
/**
 * A protoc plugin that writes one `openapi.json` for all services. Needs all files in one request (`strategy: all`).
 */
import { createEcmaScriptPlugin, runNodeJs } from "@bufbuild/protoplugin";
import { buildOpenApi } from "./openapi/document.ts";

runNodeJs(
  createEcmaScriptPlugin({
    name: "protoc-gen-openapi",
    version: "v1",
    generateTs(schema) {
      const services = schema.files.flatMap((file) => file.services);
      schema.generateFile("openapi.json").print(JSON.stringify(buildOpenApi(services, schema.allFiles), null, 2));
    },
  }),
);
