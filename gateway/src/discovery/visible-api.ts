import {
  clone,
  type DescEnum,
  type DescFile,
  type DescMessage,
  type DescMethod,
  type DescService,
  toBinary,
} from "@bufbuild/protobuf";
import { nestedTypes } from "@bufbuild/protobuf/reflect";
import { type FileDescriptorProto, FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt";

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

/** The symbols of a file's kept parts. */
function symbolsOf(file: DescFile, methods: readonly DescMethod[], reached: ReadonlySet<TopLevel>): string[] {
  const types = [...nestedTypes(file)].flatMap((type) => {
    if (type.kind !== "message" && type.kind !== "enum") return [];
    if (!reached.has(outermost(type))) return [];
    return type.kind === "enum" ? [type.typeName] : [type.typeName, ...type.fields.map(({ name }) => `${type.typeName}.${name}`)];
  });
  return [...types, ...methods.flatMap(({ parent, name }) => [parent.typeName, `${parent.typeName}.${name}`])];
}

/** A file with the methods of it that are visible. */
interface VisibleFile {
  readonly file: DescFile;
  readonly methods: readonly DescMethod[];
}

/**
 * Reduces the protos of services to the methods that are visible and the types that these refer to, without custom
 * options: nothing else of their files is shown. A file is made when it is first asked for.
 */
export function visibleApi(services: readonly DescService[], isVisible: (method: DescMethod) => boolean): VisibleApi {
  const methods = services.flatMap((service) => service.methods.filter(isVisible));
  const reached = new Set<TopLevel>();
  for (const { input, output } of methods) for (const type of [input, output]) reach(type, reached);
  const files = new Map<string, VisibleFile>();
  for (const { file } of [...methods.map(({ parent }) => parent), ...reached]) {
    const { name } = file.proto;
    if (!files.has(name)) files.set(name, { file, methods: methods.filter(({ parent }) => parent.file === file) });
  }

  let symbols: ReadonlyMap<string, string> | undefined;
  const bytes = new Map<string, Uint8Array>();
  const bytesOf = (name: string, { file, methods: own }: VisibleFile): Uint8Array => {
    const made =
      bytes.get(name) ?? toBinary(FileDescriptorProtoSchema, pruned(file, own, reached), { writeUnknownFields: false });
    bytes.set(name, made);
    return made;
  };
  return {
    services: [...new Set(methods.map(({ parent }) => parent.typeName))],
    fileOf(symbol) {
      symbols ??= new Map(
        [...files].flatMap(([name, { file, methods: own }]) => symbolsOf(file, own, reached).map((one) => [one, name] as const)),
      );
      return symbols.get(symbol);
    },
    withImports(name) {
      if (!files.has(name)) return undefined;
      const found = new Set([name]);
      const sent: Uint8Array[] = [];
      for (const one of found) {
        const visible = files.get(one);
        if (visible === undefined) continue;
        sent.push(bytesOf(one, visible));
        for (const imported of importsOf(visible.file, visible.methods, reached)) found.add(imported);
      }
      return sent;
    },
  };
}
