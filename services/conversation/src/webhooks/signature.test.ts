import { expect, test } from "vitest";
import { newSecret, secretText, signatureHeaders } from "./signature.ts";

/** The reference vector of Standard Webhooks. */
const reference = {
  secret: Buffer.from("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "base64"),
  message: { id: "msg_p5jXN8AQM9LWM0D4loKWxJek", sentAt: 1_614_265_330_999, body: '{"test": 2432232314}' },
  signature: "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
};

test("the reference vector of Standard Webhooks gets its reference signature", () => {
  expect(signatureHeaders([reference.secret], reference.message)).toEqual({
    "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
    "webhook-timestamp": "1614265330",
    "webhook-signature": reference.signature,
  });
});

test("two secrets give two signatures, separated by a space, in their order", () => {
  const other = newSecret();
  const alone = signatureHeaders([other], reference.message)["webhook-signature"];
  expect(alone).not.toBe(reference.signature);
  expect(signatureHeaders([other, reference.secret], reference.message)["webhook-signature"]).toBe(
    `${alone} ${reference.signature}`,
  );
});

test("a secret has 32 bytes, in base64 after whsec_, and differs each time", () => {
  const secret = newSecret();
  expect(secret).toHaveLength(32);
  expect(secretText(secret)).toMatch(/^whsec_[A-Za-z0-9+/]{43}=$/);
  expect(Buffer.from(secretText(secret).slice(6), "base64")).toEqual(secret);
  expect(newSecret()).not.toEqual(secret);
});
