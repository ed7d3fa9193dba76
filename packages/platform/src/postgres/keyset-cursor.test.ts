import { expect, test } from "vitest";
import { ErrorReason, reasonOf } from "../errors.ts";
import { decodeCursor, encodeCursor, keysetPage, listStart } from "./keyset-cursor.ts";

const place = { createdUs: 1_764_000_000_123_456, id: "019ab3c4-0000-7000-8000-00000000abcd" };

test("a cursor decodes to its position and is URL-safe", () => {
  const cursor = encodeCursor(place);
  expect(cursor).toMatch(/^[\w-]{1,200}$/);
  expect(decodeCursor(cursor)).toEqual(place);
});

test("no cursor is the start of the list", () => {
  expect(decodeCursor("")).toBe(listStart);
});

const forged = ["x", "%%%", "1", Buffer.from("1.2").toString("base64url"), `${encodeCursor(place)}=`, ` ${encodeCursor(place)}`];
test.each([...forged, encodeCursor({ ...place, id: "' or 1=1" }), encodeCursor({ ...place, createdUs: -1 })])(
  "refuses a cursor that no page returned: %s",
  (cursor) => {
    let reason: ErrorReason | undefined;
    try {
      decodeCursor(cursor);
    } catch (error) {
      reason = reasonOf(error);
    }
    expect(reason).toBe(ErrorReason.INVALID_REQUEST);
  },
);

test("a page ends where the next begins; the row beyond its limit only shows that there is one", () => {
  const rows = [3, 2, 1].map((created_us) => ({ created_us, key: `row-${created_us}` }));
  const idOf = ({ key }: { key: string }) => key;
  expect(keysetPage(rows, 2, idOf)).toEqual({ page: rows.slice(0, 2), next: { createdUs: 2, id: "row-2" } });
  expect(keysetPage(rows, 3, idOf)).toEqual({ page: rows, next: undefined });
  expect(keysetPage([], 3, idOf)).toEqual({ page: [], next: undefined });
});
