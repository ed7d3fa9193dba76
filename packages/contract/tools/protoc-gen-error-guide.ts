#!/usr/bin/env node
/** A protoc plugin that writes `errors.md` from the reasons in `errors/v1/reason.proto`. */
import { createEcmaScriptPlugin, runNodeJs } from "@bufbuild/protoplugin";
import { errorGuide } from "./errors/error-guide.ts";

const enumName = "turnwright.errors.v1.ErrorReason";

runNodeJs(
  createEcmaScriptPlugin({
    name: "protoc-gen-error-guide",
    version: "v1",
    generateTs(schema) {
      const reasons = schema.allFiles.flatMap((file) => file.enums).find(({ typeName }) => typeName === enumName);
      if (reasons === undefined) throw new Error(`no ${enumName} among the files of the request`);
      schema.generateFile("errors.md").print(errorGuide(reasons).trimEnd());
    },
  }),
);
