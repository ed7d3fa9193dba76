import type { SecurityBreakages } from "./breakage.ts";

const rpc = "gateway/src/rpc";
const unread = "gateway/src/connections/unread-bodies.test.ts";

/** Guards on the cost of a request before and after its admission. */
export const admission: SecurityBreakages = {
  "admission-before-the-body": {
    file: `${rpc}/rpc-plugin.ts`,
    changes: [
      {
        from: "const caller = await admit(",
        to: "await readMessage(request, input, format, limit);\n          const caller = await admit(",
      },
    ],
    suite: [`${rpc}/rpc-plugin.test.ts`],
    test: "ListBooks as application/json is refused without a credential",
  },
  "public-body-size": {
    file: "gateway/src/admission/admit.ts",
    changes: [{ from: "Math.min(limit, publicBodyBytes)", to: "limit" }],
    suite: [`${rpc}/rpc-plugin.test.ts`],
    test: "is refused by REST too",
  },
  "message-fields": {
    file: "packages/platform/src/rpc/wire-check.ts",
    changes: [{ from: "if (this.#fields > this.#maxFields) {", to: "if (this.#fields < 0) {" }],
    suite: ["packages/platform/src/rpc/wire-check.test.ts", `${rpc}/rpc-message.test.ts`],
    test: "is refused plain as well|counts as many fields",
  },
  "declared-wire-types": {
    file: "packages/platform/src/rpc/wire-check.ts",
    changes: [{ from: "field !== undefined && field.wire !== wire", to: "field !== undefined && field.wire < 0" }],
    suite: ["packages/platform/src/rpc/wire-check.test.ts"],
  },
  "json-values": {
    file: "packages/platform/src/json/json-depth.ts",
    changes: [{ from: "} else if (byte === comma) {\n      values += 1;", to: "} else if (byte === comma) {" }],
    suite: ["packages/platform/src/json/json-depth.test.ts", `${rpc}/rpc-message.test.ts`],
    test: "values are counted|keys that nobody knows",
  },
  "unpacked-size": {
    file: `${rpc}/decompression.ts`,
    changes: [{ from: "unpack(packed, { maxOutputLength: limit })", to: "unpack(packed, { maxOutputLength: 2 ** 30 })" }],
    suite: [`${rpc}/rpc-message.test.ts`],
    test: "16 KiB where no credential",
  },
  "body-in-crumbs": {
    file: "gateway/src/http/request-body.ts",
    changes: [{ from: "if (this.#pieces > freePieces + size / bytesPerPiece) {", to: "if (this.#pieces < 0) {" }],
    suite: [`${rpc}/rpc-message.test.ts`],
    test: "in crumbs.*is refused by REST$",
  },
  "unread-body": {
    file: "gateway/src/connections/unread-bodies.ts",
    changes: [{ from: "if (!this.req.complete) settleUnread(this);", to: "" }],
    suite: [unread],
    test: "meets no late 408|REST without a credential",
  },
  "last-answer-lingers": {
    file: "gateway/src/connections/unread-bodies.ts",
    changes: [{ from: "socket.destroySoon = () => linger(socket);", to: "" }],
    suite: [unread],
    test: "without a reset: REST without a credential",
  },
  "no-request-behind-the-last": {
    file: "gateway/src/connections/protocols.ts",
    changes: [{ from: "if (isEnding(request.socket)) return;", to: "" }],
    suite: ["gateway/src/connections/late-answers.test.ts"],
    test: "behind REST 404",
  },
  "begun-requests-are-answered": {
    file: "gateway/src/connections/unread-bodies.ts",
    changes: [{ from: "if (this.hasFollower) {", to: "if (this.hasFollower && this.req.destroyed) {" }],
    suite: ["gateway/src/connections/late-answers.test.ts"],
    test: "behind REST 415, encoding",
  },
  "large-rest-is-read": {
    file: "gateway/src/connections/discarding.ts",
    changes: [{ from: "mostBytes: 67_108_864", to: "mostBytes: 524_288" }],
    suite: ["gateway/src/connections/discarding.test.ts"],
    test: "reads the refusal, and no reset: REST",
  },
  "continue-after-admission": {
    file: "gateway/src/connections/protocols.ts",
    changes: [{ from: 'server.on("checkContinue", ', to: 'server.on("never", ' }],
    suite: [unread],
    test: "is refused without it.*REST without a credential",
  },
  "framework-faults": {
    file: "gateway/src/server.ts",
    changes: [{ from: "if (saysNotServed(error)) return sendNotServed(request, reply);", to: "" }],
    suite: ["gateway/src/connections/unserved.test.ts"],
    test: "QUERY is not served",
  },
  "mesh-decodes-after-admission": {
    file: "packages/platform/src/rpc/grpc-server.ts",
    changes: [
      {
        from: "isUnary ? (bytes) => bytes :",
        to: "isUnary ? (bytes) => (fromBinary(method.input, bytes), bytes) :",
      },
    ],
    suite: ["packages/platform/src/rpc/grpc-admission.test.ts"],
  },
};
