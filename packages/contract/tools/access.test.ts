import { readdirSync } from "node:fs";
import { join } from "node:path";
import { type DescMethod, type DescService, getOption } from "@bufbuild/protobuf";
import { describe, expect, test } from "vitest";
import { field as fieldRules } from "../gen/buf/validate/validate_pb.ts";
import { Access, access, callers, scopes } from "../gen/turnwright/auth/v1/access_pb.ts";
import { CreateApiKeyRequestSchema } from "../gen/turnwright/auth/v1/api_key_service_pb.ts";
import { workspaceRoot } from "./buf.ts";

const generated = join(workspaceRoot, "packages/contract/gen/turnwright");
const parts = ["gateway", ...readdirSync(join(workspaceRoot, "services"))];

/** All services of the contract, from the generated files. */
async function allServices(): Promise<DescService[]> {
  const files = readdirSync(generated, { recursive: true, encoding: "utf8" }).filter((name) => name.endsWith("_pb.ts"));
  const modules = await Promise.all(files.map((name) => import(join(generated, name)) as Promise<Record<string, unknown>>));
  return modules.flatMap((module) =>
    Object.values(module).filter((value): value is DescService => (value as { kind?: string } | null)?.kind === "service"),
  );
}

const methods = (await allServices()).flatMap((service) => service.methods);
const nameOf = (method: DescMethod) => `${method.parent.typeName}/${method.name}`;

describe("the contract's access", () => {
  test("is declared by every method", () => {
    expect(methods.length).toBeGreaterThan(20);
    expect(methods.filter((method) => getOption(method, access) === Access.UNSPECIFIED).map(nameOf)).toEqual([]);
  });

  test("names callers for every method for services, which would deny every call without them", () => {
    const forServices = methods.filter((method) => getOption(method, access) === Access.SERVICE);
    expect(forServices.length).toBeGreaterThan(0);
    expect(forServices.filter((method) => getOption(method, callers).length === 0).map(nameOf)).toEqual([]);
  });

  test("names only services of the mesh as callers, each once, and none for public methods", () => {
    for (const method of methods) {
      const named = getOption(method, callers);
      expect(
        named.filter((part) => !parts.includes(part)),
        nameOf(method),
      ).toEqual([]);
      expect(new Set(named).size, nameOf(method)).toBe(named.length);
      if (getOption(method, access) === Access.PUBLIC) expect(named, nameOf(method)).toEqual([]);
    }
  });

  test("names well-formed scopes, each once, and only for methods for users", () => {
    for (const method of methods) {
      const named = getOption(method, scopes);
      expect(
        named.filter((scope) => !/^[a-z]+(?:-[a-z]+)*(?::(?:read|write))?$/.test(scope)),
        nameOf(method),
      ).toEqual([]);
      expect(new Set(named).size, nameOf(method)).toBe(named.length);
      if (getOption(method, access) !== Access.USER) expect(named, nameOf(method)).toEqual([]);
    }
  });

  test("offers exactly the scopes that methods name when an API key is created", () => {
    const field = CreateApiKeyRequestSchema.field.scopes;
    const { type } = getOption(field, fieldRules);
    const items = type.case === "repeated" ? type.value.items?.type : undefined;
    const offered = items?.case === "string" ? items.value.in : [];
    expect([...offered].sort()).toEqual([...new Set(methods.flatMap((method) => getOption(method, scopes)))].sort());
  });
});
