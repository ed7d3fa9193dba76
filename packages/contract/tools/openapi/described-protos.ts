import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createFileRegistry, type DescFile, type DescService, fromBinary } from "@bufbuild/protobuf";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { buf } from "../buf.ts";
import { copyWorkspace } from "../workspace-copy.ts";

/** Descriptors of protos, with comments. */
export interface DescribedProtos {
  readonly files: readonly DescFile[];
  readonly services: readonly DescService[];
}

/**
 * Compiles protos with buf, for tests: the contract's own, or with `source` one more file beside them. With `source`,
 * `services` has only those of that file.
 */
export function describeProtos(source?: string): DescribedProtos {
  const copy = copyWorkspace();
  try {
    if (source !== undefined) writeFileSync(join(copy.root, "proto/fixture.proto"), source);
    const image = join(copy.root, "image.binpb");
    const { ok, output } = buf(["build", "proto", "--as-file-descriptor-set", "--output", image], copy.root);
    if (!ok) throw new Error(`the protos do not compile:\n${output}`);
    const files = [...createFileRegistry(fromBinary(FileDescriptorSetSchema, readFileSync(image))).files];
    const chosen = source === undefined ? files : files.filter((file) => file.name === "fixture");
    return { files, services: chosen.flatMap((file) => file.services) };
  } finally {
    copy.remove();
  }
}
