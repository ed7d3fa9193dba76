import { once } from "node:events";
import { expect, test } from "vitest";
import { send } from "./bus.ts";

test("a message that is sent without waiting ends no process, however the bus fails", async () => {
  const unhandled: unknown[] = [];
  const note = (reason: unknown) => unhandled.push(reason);
  process.on("unhandledRejection", note);
  try {
    const sent: string[] = [];
    const failures = [
      () => Promise.reject(new Error("refused")),
      () => Promise.reject(undefined),
      () => {
        throw new TypeError("broken");
      },
      () => undefined as unknown as Promise<void>,
      () => Promise.resolve(),
    ];
    for (const fail of failures) {
      const publish = (topic: string, payload: string) => {
        sent.push(`${topic}: ${payload}`);
        return fail();
      };
      send({ publish }, "topic", "text");
    }
    expect(sent).toEqual(failures.map(() => "topic: text"));
    // Unhandled rejections are reported before the next turn of the event loop; this one shows that they would be.
    const reported = once(process, "unhandledRejection");
    void Promise.reject(new Error("of the test"));
    await reported;
    expect(unhandled).toEqual([new Error("of the test")]);
  } finally {
    process.off("unhandledRejection", note);
  }
});
