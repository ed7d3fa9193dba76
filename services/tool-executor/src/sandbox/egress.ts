import { ConnectError } from "@connectrpc/connect";
import type { Outbound } from "@turnwright/platform/outbound/outbound";
import { connectionHeader } from "../tool-definition/header-fields.ts";
import { namesHost } from "../tool-definition/tool-hosts.ts";
import { type FromSandbox, maxFetchBytes, maxFetches, maxFetchesAtOnce, type ToSandbox } from "./messages.ts";

/** A request that a tool's process wants sent. */
type Fetch = Extract<FromSandbox, { type: "fetch" }>;

/** Sends a message to the process; `sent` runs when the process has read it. */
type Send = (message: ToSandbox, body?: Uint8Array, sent?: () => void) => void;

/**
 * Sends the requests of one call: to hosts that the tool declared, through the executor's outbound guard, within
 * limits. Nothing that the process sends is trusted.
 */
export class Egress {
  readonly #hosts: readonly string[];
  readonly #outbound: Outbound;
  readonly #send: Send;
  readonly #underWay = new Map<number, AbortController>();
  #count = 0;
  #isOver = false;

  constructor(deps: { hosts: readonly string[]; outbound: Outbound; send: Send }) {
    this.#hosts = deps.hosts;
    this.#outbound = deps.outbound;
    this.#send = deps.send;
  }

  /**
   * Sends a request, or refuses it with a message. False when the process ignores its own limits: then it is no longer
   * under the control of child.ts.
   */
  take(fetch: Fetch, body: Buffer | undefined): boolean {
    this.#count += 1;
    // child.ts itself keeps to four at once, and stops a tool at the error for one request too many.
    if (this.#count > maxFetches * 2 || this.#underWay.has(fetch.id)) return false;
    if (this.#underWay.size >= maxFetchesAtOnce * 2) return false;
    const controller = new AbortController();
    this.#underWay.set(fetch.id, controller);
    // The place is free again once the process has read the response: until then the executor has to hold it.
    const settle: Send = (message, bytes) => {
      if (!this.#isOver) this.#send(message, bytes, () => this.#underWay.delete(fetch.id));
    };
    this.#exchange(fetch, body, controller.signal).then(
      ({ url, status, headers, body: bytes }) => settle({ type: "response", id: fetch.id, url, status, headers }, bytes),
      (error: unknown) => settle({ type: "fetch-failed", id: fetch.id, message: messageOf(error) }),
    );
    return true;
  }

  abort(id: number): void {
    this.#underWay.get(id)?.abort();
  }

  /** Ends all requests of the call, which is over. */
  close(): void {
    this.#isOver = true;
    for (const controller of this.#underWay.values()) controller.abort();
    this.#underWay.clear();
  }

  async #exchange({ url, method, headers }: Fetch, body: Buffer | undefined, signal: AbortSignal) {
    if (this.#count > maxFetches) throw new Error(`a call may send ${maxFetches} requests`);
    if (body !== undefined && body.byteLength > maxFetchBytes) throw new Error(`the body is longer than ${maxFetchBytes} bytes`);
    if (!URL.canParse(url)) throw new Error("the address is not a URL");
    const target = new URL(url);
    if (!namesHost(this.#hosts, target)) throw new Error(`the tool does not declare the host ${target.host} in its hosts`);
    // The guard limits the body as it travels, so no encoding may make it larger afterwards.
    const passed = Object.entries(headers).filter(
      ([name]) => !connectionHeader.test(name) && name.toLowerCase() !== "accept-encoding",
    );
    const response = await this.#outbound.send({
      url: target.href,
      method,
      headers: Object.fromEntries(passed),
      ...(body === undefined || method === "GET" || method === "HEAD" ? {} : { body }),
      signal,
      maxBytes: maxFetchBytes,
    });
    if (response.truncated) throw new Error(`the response is longer than ${maxFetchBytes} bytes`);
    return response;
  }
}

function messageOf(error: unknown): string {
  return error instanceof ConnectError ? error.rawMessage : error instanceof Error ? error.message : String(error);
}
