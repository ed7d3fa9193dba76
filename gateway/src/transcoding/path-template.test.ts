import { describe, expect, test } from "vitest";
import { compilePathTemplate } from "./path-template.ts";

describe("compilePathTemplate", () => {
  test("gives the router's path, the fields and a pattern", () => {
    const path = compilePathTemplate("/v1/shelves/{shelf_id}/books/{place}");
    expect(path.route).toBe("/v1/shelves/:shelf_id/books/:place");
    expect(path.fields).toEqual(["shelf_id", "place"]);
    expect(path.pattern.test("/v1/shelves/7/books/8")).toBe(true);
    expect(path.pattern.test("/v1/shelves/7/books")).toBe(false);
    expect(path.pattern.test("/v1/shelves/7/books/8/9")).toBe(false);
  });

  test("takes the dots of a literal literally", () => {
    const { pattern } = compilePathTemplate("/.well-known/jwks.json");
    expect(pattern.test("/.well-known/jwks.json")).toBe(true);
    expect(pattern.test("/xwell-known/jwksxjson")).toBe(false);
  });

  test.each(["v1/shelves", "/v1/{name=shelves/*}", "/v1/shelves:count", "/v1//books", "/v1/*", "/v1/{Shelf}"])(
    "refuses the unsupported template %s",
    (template) => {
      expect(() => compilePathTemplate(template)).toThrow(template);
    },
  );
});
