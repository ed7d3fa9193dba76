import { create } from "@bufbuild/protobuf";
import { SurfaceSchema } from "@turnwright/contract/errors/v1/surface";
import { describe, expect, it } from "vitest";
import { compileLibrary } from "../../fixtures/library.ts";
import { eventIdWriter, lastEventIdField } from "./event-id.ts";
import { type Binding, routesOf } from "./routes.ts";

const routes = routesOf([compileLibrary().service]);

function bindingOf(method: string, surface: { eventIdField?: string; lastEventIdField?: string }): Binding {
  const bindings = routes.flatMap(({ unary, stream }) => [unary, stream]);
  const binding = bindings.find((candidate) => candidate?.method.name === method);
  if (binding === undefined) throw new Error(`no binding of ${method}`);
  return { ...binding, surface: create(SurfaceSchema, surface) };
}

describe("the fields that carry ids of events", () => {
  it.each([
    ["StreamRead", "book"],
    ["StreamRead", "nothing"],
    ["Read", "word"],
  ])("are refused at start where %s has no fit field %s", (method, eventIdField) => {
    expect(() => eventIdWriter(bindingOf(method, { eventIdField }))).toThrow(method);
  });

  it.each([
    ["StreamRead", "stream"],
    ["WatchShelf", "shelf_id"],
  ])("are refused at start where %s cannot take %s from a header", (method, field) => {
    expect(() => lastEventIdField(bindingOf(method, { lastEventIdField: field }))).toThrow(method);
  });

  it("are none where the surface names none", () => {
    expect(lastEventIdField(bindingOf("StreamRead", {}))).toBeUndefined();
  });
});
