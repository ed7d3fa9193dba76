import { spawnSync } from "node:child_process";
import { cpSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  createFileRegistry,
  type DescMessage,
  type DescMethod,
  type DescService,
  type FileRegistry,
  fromBinary,
} from "@bufbuild/protobuf";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";

const root = join(import.meta.dirname, "../..");

/** The protos of Connect's conformance suite, compiled. */
export interface ConformanceSchema {
  readonly service: DescService;
  readonly registry: FileRegistry;
  method(name: string): DescMethod;
  message(name: string): DescMessage;
}

/** Compiles `third_party/connectrpc`; messages are dynamic, in the shapes of `messages.ts`. */
export function compileConformance(): ConformanceSchema {
  const folder = mkdtempSync(join(tmpdir(), "turnwright-conformance-"));
  try {
    cpSync(join(root, "third_party/connectrpc/conformance"), join(folder, "connectrpc/conformance"), { recursive: true });
    const image = join(folder, "image.binpb");
    const built = spawnSync(join(root, "node_modules/.bin/buf"), ["build", "--as-file-descriptor-set", "--output", image], {
      cwd: folder,
      encoding: "utf8",
    });
    if (built.status !== 0) throw new Error(`third_party/connectrpc does not compile:\n${built.stdout}${built.stderr}`);
    const registry = createFileRegistry(fromBinary(FileDescriptorSetSchema, readFileSync(image)));
    const found = <T>(desc: T | undefined, name: string): T => {
      if (desc === undefined) throw new Error(`third_party/connectrpc has no ${name}`);
      return desc;
    };
    const service = found(registry.getService("connectrpc.conformance.v1.ConformanceService"), "ConformanceService");
    return {
      service,
      registry,
      method: (name) =>
        found(
          service.methods.find((method) => method.name === name),
          name,
        ),
      message: (name) => found(registry.getMessage(`connectrpc.conformance.v1.${name}`), name),
    };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
