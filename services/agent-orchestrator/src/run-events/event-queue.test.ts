import { describe, expect, test } from "vitest";
import { EventQueue } from "./event-queue.ts";

const lengthOf = (text: string) => text.length;

async function all(queue: EventQueue<string>): Promise<string[]> {
  const items: string[] = [];
  for await (const item of queue) items.push(item);
  return items;
}

describe("a queue of events", () => {
  test("passes on items pushed before and after its reader came, in order", async () => {
    const queue = new EventQueue<string>(10, lengthOf);
    queue.push("one");
    queue.push("two");
    const read = all(queue);
    await Promise.resolve();
    queue.push("three");
    queue.end();
    expect(await read).toEqual(["one", "two", "three"]);
    expect(queue.isIncomplete).toBe(false);
  });

  test("drops all waiting items, and ends, when its reader is too far behind", async () => {
    const queue = new EventQueue<string>(10, lengthOf);
    for (let i = 0; i < 4; i++) queue.push("four");
    expect(queue.isIncomplete).toBe(true);
    expect(await all(queue)).toEqual([]);
  });

  test("counts only items that still wait", async () => {
    const queue = new EventQueue<string>(10, lengthOf);
    const reader = queue[Symbol.asyncIterator]();
    for (let i = 0; i < 100; i++) {
      queue.push("12345678");
      expect((await reader.next()).value).toBe("12345678");
    }
    expect(queue.isIncomplete).toBe(false);
  });

  test("takes a single item that is larger than its limit", async () => {
    const queue = new EventQueue<string>(10, lengthOf);
    queue.push("more than ten characters");
    queue.end();
    expect(await all(queue)).toHaveLength(1);
  });
});
