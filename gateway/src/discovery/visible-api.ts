import {
  clone,
  create,
  createFileRegistry,
  type DescEnum,
  type DescFile,
  type DescMessage,
  type DescMethod,
  type DescService,
  toBinary,
} from "@bufbuild/protobuf";
import { nestedTypes } from "@bufbuild/protobuf/reflect";
import { type FileDescriptorProto, FileDescriptorProtoSchema, FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";

/** The protos of the methods that a caller may call. */
export interface VisibleApi {
  /** Full names of the services that have such a method. */
  readonly services: readonly string[];
  /** The file that declares a service, method, message, field or enum by its full name. */
  fileOf(symbol: string): string | undefined;
  /** A file, then all that it imports, as serialized FileDescriptorProtos. */
  withImports(name: string): Uint8Array[] | undefined;
}

type TopLevel = DescMessage | DescEnum;

function outermost(type: TopLevel): TopLevel {
  let top = type;
  while (top.parent !== undefined) top = top.parent;
  return top;
}

/** Adds a type and all that its fields refer to, by their outermost types. */
function reach(type: TopLevel, reached: Set<TopLevel>): void {
  const top = outermost(type);
  if (reached.has(top)) return;
  reached.add(top);
  if (top.kind === "message") reachFields(top, reached);
}

function reachFields(message: DescMessage, reached: Set<TopLevel>): void {
  for (const { message: ofMessage, enum: ofEnum } of message.fields) {
    if (ofMessage !== undefined) reach(ofMessage, reached);
    if (ofEnum !== undefined) reach(ofEnum, reached);
  }
  for (const nested of message.nestedMessages) reachFields(nested, reached);
}

/** The files that a file's kept parts refer to. */
function importsOf(file: DescFile, methods: readonly DescMethod[], reached: ReadonlySet<TopLevel>): string[] {
  const referred = new Set<TopLevel>();
  for (const { input, output } of methods) for (const type of [input, output]) referred.add(outermost(type));
  for (const message of file.messages) if (reached.has(message)) reachOnce(message, referred);
  return [...new Set([...referred].map((type) => type.file.proto.name))].filter((name) => name !== file.proto.name);
}

function reachOnce(message: DescMessage, referred: Set<TopLevel>): void {
  for (const { message: ofMessage, enum: ofEnum } of message.fields) {
    const type = ofMessage ?? ofEnum;
    if (type !== undefined) referred.add(outermost(type));
  }
  for (const nested of message.nestedMessages) reachOnce(nested, referred);
}

/** A file without what its caller may not see; its custom options go when it is serialized. */
function pruned(file: DescFile, methods: readonly DescMethod[], reached: ReadonlySet<TopLevel>): FileDescriptorProto {
  const proto = clone(FileDescriptorProtoSchema, file.proto);
  const isReached = (types: readonly TopLevel[]) => {
    const names = new Set(types.filter((type) => reached.has(type)).map(({ name }) => name));
    return ({ name }: { name: string }) => names.has(name);
  };
  proto.messageType = proto.messageType.filter(isReached(file.messages));
  proto.enumType = proto.enumType.filter(isReached(file.enums));
  proto.service = proto.service.flatMap((service) => {
    const ofService = methods.filter(({ parent }) => parent.name === service.name);
    service.method = service.method.filter(({ name }) => ofService.some((method) => method.name === name));
    return ofService.length === 0 ? [] : [service];
  });
  proto.extension = [];
  proto.dependency = importsOf(file, methods, reached);
  proto.publicDependency = [];
  proto.weakDependency = [];
  return proto;
}

function symbolsOf(file: DescFile): string[] {
  return [...nestedTypes(file)].flatMap((type) => {
    if (type.kind === "service") return [type.typeName, ...type.methods.map(({ name }) => `${type.typeName}.${name}`)];
    if (type.kind === "message") return [type.typeName, ...type.fields.map(({ name }) => `${type.typeName}.${name}`)];
    return [type.typeName];
  });
}

/**
 * Reduces the protos of services to the methods that are visible and the types that these refer to, without custom
 * options: nothing else of their files is shown.
 */
export function visibleApi(services: readonly DescService[], isVisible: (method: DescMethod) => boolean): VisibleApi {
  const methods = services.flatMap((service) => service.methods.filter(isVisible));
  const reached = new Set<TopLevel>();
  for (const { input, output } of methods) for (const type of [input, output]) reach(type, reached);
  const files = new Set([...methods.map(({ parent }) => parent.file), ...[...reached].map(({ file }) => file)]);
  const protos = [...files].map((file) => {
    const own = methods.filter(({ parent }) => parent.file === file);
    return pruned(file, own, reached);
  });

  const registry = createFileRegistry(create(FileDescriptorSetSchema, { file: inOrder(protos) }));
  const symbols = new Map([...registry.files].flatMap((file) => symbolsOf(file).map((name) => [name, file.proto.name] as const)));
  const bytes = new Map(
    protos.map((proto) => [proto.name, toBinary(FileDescriptorProtoSchema, proto, { writeUnknownFields: false })]),
  );
  const imports = new Map(protos.map(({ name, dependency }) => [name, dependency]));
  return {
    services: [...new Set(methods.map(({ parent }) => parent.typeName))],
    fileOf: (symbol) => symbols.get(symbol),
    withImports(name) {
      if (!bytes.has(name)) return undefined;
      const found = new Set([name]);
      for (const one of found) for (const imported of imports.get(one) ?? []) found.add(imported);
      return [...found].map((one) => bytes.get(one) ?? new Uint8Array());
    },
  };
}

/** Files after those that they import. */
function inOrder(protos: readonly FileDescriptorProto[]): FileDescriptorProto[] {
  const byName = new Map(protos.map((proto) => [proto.name, proto]));
  const ordered = new Set<FileDescriptorProto>();
  const begun = new Set<string>();
  const add = (name: string) => {
    const proto = byName.get(name);
    if (proto === undefined || begun.has(name)) return;
    begun.add(name);
    proto.dependency.forEach(add);
    ordered.add(proto);
  };
  for (const { name } of protos) add(name);
  return [...ordered];
}
