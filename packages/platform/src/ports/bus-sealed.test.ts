import { expect, test } from "vitest";
import { createLogger } from "../logger.ts";
import type { Bus } from "./bus.ts";
import { createMemoryBus } from "./bus-memory.ts";
import { createSealedBus } from "./bus-sealed.ts";

const logger = createLogger({ service: "test", level: "silent" });
const open = createMemoryBus({ logger });
const sealed = (secret = "the-secret-of-a-mesh-of-these-tests") => createSealedBus({ bus: open, secrets: secret, logger });

/** The messages that a listener receives from other senders, in order. */
async function heard(listener: Bus, topic: string, send: () => Promise<unknown>): Promise<string[]> {
  const messages: string[] = [];
  const end = Promise.withResolvers<void>();
  await listener.subscribe(topic, (message) => {
    if (message === "the end") end.resolve();
    else messages.push(message);
  });
  await send();
  await sealed().publish(topic, "the end");
  await end.promise;
  return messages;
}

test("processes of one system receive each other's messages, whatever their text", async () => {
  const texts = ["", "a", '{"token_id":"b"}', "ünïcode\n\0 and more"];
  expect(
    await heard(sealed(), "topic", async () => {
      for (const text of texts) await sealed().publish("topic", text);
    }),
  ).toEqual(texts);
});

test("messages of a sender without the secret are dropped", async () => {
  const messages = await heard(sealed(), "revoked", async () => {
    await open.publish("revoked", '{"token_id":"a"}');
    await open.publish("revoked", "");
    await open.publish("revoked", "x".repeat(22));
    await open.publish("revoked", `${"A".repeat(22)}{"token_id":"a"}`);
    await sealed("another-secret-of-some-other-system").publish("revoked", '{"token_id":"a"}');
  });
  expect(messages).toEqual([]);
});

test("a message is not valid for another topic or another text", async () => {
  const recorded: string[] = [];
  await open.subscribe("a", (message) => recorded.push(message));
  await sealed().publish("a", "b: cancel");
  await Promise.resolve();
  const [message = ""] = recorded;
  expect(message).toContain("b: cancel");
  const messages = await heard(sealed(), "ab", async () => {
    await open.publish("ab", message);
    await open.publish("ab", message.replace("b: ", ": "));
    await open.publish("ab", `${message}!`);
  });
  expect(messages).toEqual([]);
});
