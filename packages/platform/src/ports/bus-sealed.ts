import { createHmac, timingSafeEqual } from "node:crypto";
import { acceptedSecrets, type Secrets } from "../config/secrets.ts";
import type { Logger } from "../logger.ts";
import type { Bus } from "./bus.ts";

/** Bytes of a message's authentication code: 128 bits, as base64url. */
const codeBytes = 16;
const codeLength = Math.ceil((codeBytes * 4) / 3);
/** Foreign messages are logged at most once in this time. */
const warnEveryMs = 60_000;

/**
 * A bus with authenticated messages. Each carries a code (HMAC-SHA256 under its own key, derived from the mesh secret)
 * over its topic and text; messages with a wrong code are dropped. A party that reaches Redis without the secret can
 * suppress messages but not forge them: no revocation, no text of a run, no request to cancel one. Systems with
 * different secrets that share a Redis do not receive each other's messages.
 */
export function createSealedBus(options: { bus: Bus; secrets: Secrets; logger: Logger }): Bus {
  const { bus, logger } = options;
  const keys = acceptedSecrets(options.secrets).map((secret) =>
    createHmac("sha256", secret).update("turnwright bus v1").digest(),
  );
  const [signing = Buffer.alloc(0)] = keys;
  let warnedAt = Number.NEGATIVE_INFINITY;

  // The length separates the topic from the text that follows it.
  const codeOf = (key: Buffer, topic: string, text: string) =>
    createHmac("sha256", key).update(`${topic.length}:${topic}`).update(text).digest().subarray(0, codeBytes);

  const open = (topic: string, message: string): string | undefined => {
    const code = Buffer.from(message.slice(0, codeLength), "base64url");
    const text = message.slice(codeLength);
    if (code.length === codeBytes && keys.some((key) => timingSafeEqual(code, codeOf(key, topic, text)))) return text;
    if (performance.now() - warnedAt > warnEveryMs) {
      warnedAt = performance.now();
      logger.warn({ topic }, "bus messages of another system dropped");
    }
    return undefined;
  };

  return {
    publish: (topic, payload) => bus.publish(topic, codeOf(signing, topic, payload).toString("base64url") + payload),
    subscribe(topic, listener, onGap) {
      const opened = (message: string) => {
        const text = open(topic, message);
        if (text !== undefined) listener(text);
      };
      return bus.subscribe(topic, opened, onGap);
    },
  };
}
