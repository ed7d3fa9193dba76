import { createHmac, randomBytes } from "node:crypto";

const prefix = "whsec_";

/** A secret of 32 random bytes. */
export function newSecret(): Buffer {
  return randomBytes(32);
}

/** A secret as receivers configure it: `whsec_` and base64. */
export function secretText(secret: Uint8Array): string {
  return prefix + Buffer.from(secret).toString("base64");
}

/**
 * The headers that authenticate a message (Standard Webhooks, standardwebhooks.com): one signature per secret, so a
 * receiver needs to know only one of them. `sentAt` is in milliseconds.
 */
export function signatureHeaders(
  secrets: readonly Uint8Array[],
  message: { id: string; sentAt: number; body: string },
): Record<"webhook-id" | "webhook-timestamp" | "webhook-signature", string> {
  const timestamp = String(Math.floor(message.sentAt / 1000));
  const signed = `${message.id}.${timestamp}.${message.body}`;
  return {
    "webhook-id": message.id,
    "webhook-timestamp": timestamp,
    "webhook-signature": secrets.map((secret) => `v1,${createHmac("sha256", secret).update(signed).digest("base64")}`).join(" "),
  };
}
