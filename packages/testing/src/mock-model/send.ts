import { once } from "node:events";
import type { ServerResponse } from "node:http";
import { setTimeout as delay } from "node:timers/promises";
import { brotliCompressSync, deflateSync, gzipSync } from "node:zlib";
import type { Plan } from "./plan.ts";
import { type ErrorForm, errorBody, namedErrors, type Refusal, refusalOf } from "./refusal.ts";
import { piecesOf, type Reply } from "./reply.ts";

/** An open response, whose waits end when the client leaves. */
export interface OpenResponse {
  readonly response: ServerResponse;
  readonly left: AbortSignal;
}

const compress = { gzip: gzipSync, br: brotliCompressSync, deflate: deflateSync } as const;

/** Sends an error. */
export function sendRefusal(
  { response }: OpenResponse,
  refusal: Refusal,
  headers: Record<string, string>,
  form?: ErrorForm,
): void {
  const { contentType, text } = errorBody(refusal, form);
  response.writeHead(refusal.status, { "content-type": contentType, "x-request-id": "req_mock", ...headers });
  response.end(text);
}

/** Waits; throws when the client leaves. */
const pause = (ms: number, { left }: OpenResponse) => delay(ms, undefined, { signal: left });

/** Waits until the client leaves. */
async function hang({ left }: OpenResponse): Promise<void> {
  if (!left.aborted) await once(left, "abort");
}

/** The bytes of a body without meaning; the same each time. */
const garbage = Buffer.from(Array.from({ length: 512 }, (_, index) => (index * 167 + 13) % 256));

function sendOddBody({ response }: OpenResponse, body: NonNullable<Plan["body"]>, type: string): void {
  const html = "<!DOCTYPE html><html><head><title>Login</title></head><body><h1>Sign in</h1></body></html>";
  const bodies = {
    garbage: [200, { "content-type": type }, garbage],
    html: [200, { "content-type": "text/html; charset=utf-8" }, html],
    empty: [200, { "content-type": type, "content-length": "0" }, ""],
    "bad-json": [200, { "content-type": "application/json" }, '{"id":"chatcmpl-1","choices":[{"index":0,"message":{"role":"assi'],
    "no-content": [204, {}, ""],
    redirect: [307, { location: "http://192.0.2.1/v1/chat/completions" }, ""],
  } as const;
  const [status, headers, bytes] = bodies[body];
  response.writeHead(status, headers);
  response.end(bytes);
}

/** The faults of a plan that leave no answer; returns whether one has been sent. */
export async function sendFault(open: OpenResponse, plan: Plan, isStreamed: boolean): Promise<boolean> {
  if (plan.delayMs !== undefined) await pause(plan.delayMs, open);
  if (plan.hangAfter === 0) {
    await hang(open);
    return true;
  }
  if (plan.cutAfter === 0) {
    open.response.destroy();
    return true;
  }
  if (plan.refusal !== undefined) {
    const { name, status } = plan.refusal;
    const refusal = name === undefined ? refusalOf(status) : namedErrors[name as keyof typeof namedErrors];
    const date = plan.dateAfterSeconds;
    const dated: Record<string, string> =
      date === undefined ? {} : { "retry-after": new Date(Date.now() + date * 1000).toUTCString() };
    sendRefusal(open, refusal, { ...plan.headers, ...dated }, plan.errorForm);
    return true;
  }
  if (plan.body === undefined) return false;
  sendOddBody(open, plan.body, isStreamed ? "text/event-stream" : "application/json");
  return true;
}

/** The pieces up to a byte. */
function upTo(pieces: readonly Buffer[], bytes: number): Buffer[] {
  const kept: Buffer[] = [];
  let left = bytes;
  for (const piece of pieces) {
    if (left <= 0) break;
    kept.push(piece.subarray(0, left));
    left -= piece.length;
  }
  return kept;
}

/** Sends an answer, with the faults that meet it on its way. */
export async function sendReply(open: OpenResponse, reply: Reply, plan: Plan): Promise<void> {
  const { response } = open;
  const texts = piecesOf(reply);
  const { encoding } = reply;
  const all = encoding === undefined ? texts.map((text) => Buffer.from(text)) : [compress[encoding](texts.join(""))];
  const pieces = plan.cutAtByte === undefined ? all : upTo(all, plan.cutAtByte);
  response.writeHead(reply.status, { ...reply.headers, ...(encoding === undefined ? {} : { "content-encoding": encoding }) });
  response.flushHeaders();
  const isPaced = [plan.dripMs, plan.cutAfter, plan.endAfter, plan.hangAfter, plan.cutAtByte].some((one) => one !== undefined);
  // A stream without faults goes out in as few writes as the client allows.
  if (!isPaced) response.write(Buffer.concat(pieces));
  for (const [sent, piece] of isPaced ? pieces.entries() : []) {
    if (sent === plan.cutAfter || sent === plan.endAfter) break;
    if (sent === plan.hangAfter) await hang(open);
    if (open.left.aborted) return;
    // Each piece is flushed separately: a break later does not take it back.
    await new Promise<void>((resolve) => response.write(piece, () => resolve()));
    if (plan.dripMs !== undefined && sent < pieces.length - 1) await pause(plan.dripMs, open);
  }
  if (plan.cutAfter !== undefined || plan.cutAtByte !== undefined) response.destroy();
  else if (reply.isLeftOpen) await hang(open);
  else response.end();
}
