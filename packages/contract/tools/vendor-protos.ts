/**
 * Writes `third_party/buf/validate/validate.proto` from the descriptor in `@bufbuild/protovalidate`, so that buf needs
 * no network. Omits comments and the CEL bodies of the standard rules, which only the validator needs.
 * (`third_party/google/api/` is a copy of the protos in the npm package google-gax 6.17.0, `third_party/grpc/` of those
 * in @grpc/reflection 1.0.4 and grpc-health-check 2.1.0.)
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import type { DescEnum, DescExtension, DescField, DescFile, DescMessage } from "@bufbuild/protobuf";
import { FieldDescriptorProto_Label, FieldDescriptorProto_Type } from "@bufbuild/protobuf/wkt";

const require = createRequire(import.meta.url);
// @bufbuild/protovalidate does not export the descriptor.
const { file_buf_validate_validate: validate } = require(
  join(dirname(require.resolve("@bufbuild/protovalidate")), "gen/buf/validate/validate_pb.js"),
) as { file_buf_validate_validate: DescFile };
const root = join(import.meta.dirname, "../../../third_party");

const scalarNames = new Map(
  Object.entries(FieldDescriptorProto_Type)
    .filter((entry): entry is [string, number] => typeof entry[1] === "number")
    .map(([name, number]) => [number, name.toLowerCase()]),
);

function fieldLine(field: DescField | DescExtension): string {
  const proto = field.proto;
  const type = field.message
    ? `.${field.message.typeName}`
    : field.enum
      ? `.${field.enum.typeName}`
      : scalarNames.get(proto.type);
  const label = field.oneof ? "" : proto.label === FieldDescriptorProto_Label.REPEATED ? "repeated " : "optional ";
  if (field.fieldKind === "map") {
    const value =
      field.mapKind === "message"
        ? `.${field.message.typeName}`
        : field.mapKind === "enum"
          ? `.${field.enum.typeName}`
          : scalarNames.get(field.scalar);
    return `map<${scalarNames.get(field.mapKey)}, ${value}> ${proto.name} = ${proto.number};`;
  }
  return `${label}${type} ${proto.name} = ${proto.number};`;
}

function printEnum(desc: DescEnum, pad: string): string {
  const values = desc.values.map((value) => `${pad}  ${value.name} = ${value.number};\n`).join("");
  return `${pad}enum ${desc.name} {\n${desc.proto.options?.allowAlias ? `${pad}  option allow_alias = true;\n` : ""}${values}${pad}}\n`;
}

function printMessage(desc: DescMessage, pad: string): string {
  let body = "";
  for (const range of desc.proto.extensionRange) {
    const end = (range.end ?? 0) - 1;
    body += `${pad}  extensions ${range.start} to ${end >= 536870911 ? "max" : end};\n`;
  }
  for (const nested of desc.nestedEnums) body += printEnum(nested, `${pad}  `);
  for (const nested of desc.nestedMessages) body += printMessage(nested, `${pad}  `);
  for (const member of desc.members) {
    body +=
      member.kind === "oneof"
        ? `${pad}  oneof ${member.name} {\n${member.fields.map((f) => `${pad}    ${fieldLine(f)}\n`).join("")}${pad}  }\n`
        : `${pad}  ${fieldLine(member)}\n`;
  }
  return `${pad}message ${desc.name} {\n${body}${pad}}\n`;
}

function printFile(file: DescFile): string {
  const imports = file.proto.dependency.map((name) => `import "${name}";\n`).join("");
  const extensions = file.extensions.map((ext) => `extend .${ext.extendee.typeName} {\n  ${fieldLine(ext)}\n}\n`).join("");
  return [
    "// Printed by packages/contract/tools/vendor-protos.ts from @bufbuild/protovalidate (Apache-2.0). Do not edit.\n",
    `syntax = "${file.proto.syntax || "proto2"}";\n\npackage ${file.proto.package};\n\n${imports}\n`,
    extensions,
    ...file.enums.map((desc) => printEnum(desc, "")),
    ...file.messages.map((desc) => printMessage(desc, "")),
  ].join("");
}

mkdirSync(join(root, "buf/validate"), { recursive: true });
writeFileSync(join(root, "buf/validate/validate.proto"), printFile(validate));
