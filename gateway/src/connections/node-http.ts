/**
 * Node's HTTP/1.1. An `import` of these values from `node:http` would also read its WebSocket, for which Node loads its
 * own fetch: a twentieth of a start.
 */
export const { createServer, IncomingMessage, ServerResponse } = process.getBuiltinModule("node:http");
