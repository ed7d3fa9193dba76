import type { SecurityBreakages } from "./breakage.ts";

/** Guards on what clients hold, and on how browsers may use responses. */
export const connections: SecurityBreakages = {
  "connections-per-address": {
    file: "gateway/src/connections/client-accounts.ts",
    changes: [
      { from: "if (connectionsPerAddress > 0 && address.connections >= connectionsPerAddress) return undefined;", to: "" },
    ],
    suite: ["gateway/src/connections/client-accounts.test.ts"],
    test: "connections of an address",
  },
  "requests-per-client": {
    file: "gateway/src/connections/client-accounts.ts",
    changes: [{ from: "if (isFull()) return undefined;", to: "" }],
    suite: ["gateway/src/connections/client-accounts.test.ts"],
    test: "is so many requests",
  },
  "unread-answers": {
    file: "gateway/src/connections/client-accounts.ts",
    changes: [{ from: "if (this.#bytes <= largeBytes) return false;", to: "if (this.#bytes >= 0) return false;" }],
    suite: ["gateway/src/connections/client-accounts.test.ts"],
    test: "an answer of any size alone",
  },
  "bodies-on-their-way": {
    file: "gateway/src/connections/client-accounts.ts",
    changes: [{ from: "this.#received += bytes;", to: "" }],
    suite: ["gateway/src/connections/client-accounts.test.ts"],
    test: "no more of their bodies",
  },
  "cut-under-pressure": {
    file: "gateway/src/connections/stalled-readers.ts",
    changes: [{ from: "(isPressed(raw) ? Math.min(limitMs, pressedMs) : limitMs)", to: "limitMs" }],
    suite: ["gateway/src/connections/client-accounts.test.ts"],
    test: "cut before the limit for all",
  },
  "trusted-proxies-only": {
    file: "gateway/src/connections/client-accounts.ts",
    changes: [{ from: "if (this.#isProxy(from, 0)) return", to: "if (from !== undefined) return" }],
    suite: ["gateway/src/connections/client-accounts.test.ts"],
    test: "connections of an address",
  },
  "ipv6-by-network": {
    file: "gateway/src/connections/address-block.ts",
    changes: [{ from: ".slice(0, 4)", to: ".slice(0, 8)" }],
    suite: ["gateway/src/connections/address-block.test.ts", "gateway/src/connections/client-accounts.test.ts"],
    test: "no two addresses of one|behind a trusted proxy",
  },
  pipelining: {
    file: "gateway/src/connections/pipelining.ts",
    changes: [{ from: "return this.#open.size >= atOnce;", to: "return false;" }],
    suite: ["gateway/src/connections/pipelining.test.ts"],
    test: "a few at a time",
  },
  "shared-files": {
    file: "gateway/src/http/static-files.ts",
    changes: [{ from: "if (!isZipped) return reply.send(bytes);", to: "if (!isZipped) return reply.send(Buffer.from(bytes));" }],
    suite: ["tests/security/connections.test.ts"],
    test: "share one copy",
  },
  "answer-headers": {
    file: "gateway/src/server.ts",
    changes: [
      {
        from: 'reply.headers(answerHeaders).header("x-request-id", request.id);',
        to: 'reply.header("x-request-id", request.id);',
      },
    ],
    suite: ["tests/security/answer-headers.test.ts"],
  },
  "answer-headers-of-framework-errors": {
    file: "gateway/src/server.ts",
    changes: [{ from: "reply.code(status).headers(answerHeaders).headers(headers)", to: "reply.code(status).headers(headers)" }],
    suite: ["tests/security/answer-headers.test.ts"],
    test: "no route",
  },
};
