import type { IncomingMessage, ServerResponse } from "node:http";
import type { Socket } from "node:net";
import proxyAddr from "@fastify/proxy-addr";
import { addressBlock } from "./address-block.ts";

/** How much of this process clients may hold at once. 0 connections: any number. */
export interface AccountLimits {
  /** Connections of one address. */
  readonly connectionsPerAddress: number;
  /** Bytes for the requests of one connection that are under way, their bodies and unread answers included. */
  readonly bytesPerConnection: number;
  /** The same for all connections of one address. */
  readonly bytesPerAddress: number;
  /** Above so many bytes of all clients together, readers who do not read are cut early, whoever they are. */
  readonly bytesInAll: number;
  /** Proxies, whose connections carry the requests of many clients. */
  readonly proxies: readonly string[];
}

/**
 * What a request costs while it is under way, beside its body and its answer: its headers and all that follows its
 * course, in bytes.
 */
export const requestBytes = 16_384;
/**
 * A request whose body and answer are more than that may be ended when they come; a stream of events never waits with
 * so much.
 */
const largeBytes = 65_536;
/** How often the sums of an address are taken anew while it is at its limit, in milliseconds. */
const recountMs = 100;

interface Sum {
  bytes: number;
}

interface AddressAccount extends Sum {
  readonly block: string;
  connections: number;
  readonly exchanges: Set<Exchange>;
  recountedAt: number;
}

interface ConnectionAccount extends Sum {
  /** Undefined for a proxy: each request says whose it is. */
  readonly address: AddressAccount | undefined;
}

/** A request and its answer, until the answer is through. */
export class Exchange {
  readonly #response: ServerResponse;
  readonly #accounts: ClientAccounts;
  readonly connection: ConnectionAccount;
  readonly address: AddressAccount;
  #bytes = 0;
  #received = 0;

  constructor(
    response: ServerResponse,
    owners: { accounts: ClientAccounts; connection: ConnectionAccount; address: AddressAccount },
  ) {
    this.#response = response;
    this.#accounts = owners.accounts;
    this.connection = owners.connection;
    this.address = owners.address;
    this.#book(requestBytes);
  }

  #book(bytes: number): void {
    const more = bytes - this.#bytes;
    if (more === 0) return;
    this.#bytes = bytes;
    this.#accounts.all.bytes += more;
    this.connection.bytes += more;
    this.address.bytes += more;
  }

  /** Takes down what waits for the reader now. */
  count(): void {
    this.#book(requestBytes + this.#received + this.#response.writableLength);
  }

  /**
   * Takes down a piece of the body, which is held for as long as the request is under way; gives whether that is too
   * much.
   */
  receive(bytes: number): boolean {
    this.#received += bytes;
    this.count();
    return this.isTooMuch();
  }

  /** The answer is through. */
  end(): void {
    this.#book(0);
    this.#accounts.close(this);
  }

  /** Whether it is large and one more than its connection or its address may have; a request alone is always served. */
  isTooMuch(): boolean {
    if (this.#bytes <= largeBytes) return false;
    const isOver = ({ bytes }: Sum, limit: number) => bytes > limit && bytes > this.#bytes;
    const { bytesPerConnection, bytesPerAddress } = this.#accounts.limits;
    return (
      (this.connection.address !== undefined && isOver(this.connection, bytesPerConnection)) ||
      isOver(this.address, bytesPerAddress)
    );
  }

  /** Whether its client holds so much that readers who do not read have to go soon. */
  isPressed(): boolean {
    const { bytesPerConnection, bytesPerAddress, bytesInAll } = this.#accounts.limits;
    return (
      (this.connection.address !== undefined && this.connection.bytes > bytesPerConnection / 2) ||
      this.address.bytes > bytesPerAddress / 2 ||
      this.#accounts.all.bytes > bytesInAll
    );
  }
}

/** Keeps account of what each connection and each address holds of this process. */
export class ClientAccounts {
  readonly limits: AccountLimits;
  /** Of all clients together. */
  readonly all: Sum = { bytes: 0 };
  readonly #isProxy: (address: string, hop: number) => boolean;
  readonly #addresses = new Map<string, AddressAccount>();

  constructor(limits: AccountLimits) {
    this.limits = limits;
    this.#isProxy = limits.proxies.length > 0 ? proxyAddr.compile([...limits.proxies]) : () => false;
  }

  #addressOf(address: string): AddressAccount {
    const block = addressBlock(address);
    const known = this.#addresses.get(block);
    if (known !== undefined) return known;
    const made = { block, bytes: 0, connections: 0, exchanges: new Set<Exchange>(), recountedAt: 0 };
    this.#addresses.set(block, made);
    return made;
  }

  #forget(address: AddressAccount): void {
    if (address.connections === 0 && address.exchanges.size === 0) this.#addresses.delete(address.block);
  }

  /** The account of a new connection; undefined when its address has as many as it may. */
  open(socket: Socket): ConnectionAccount | undefined {
    const from = socket.remoteAddress ?? "";
    if (this.#isProxy(from, 0)) return { bytes: 0, address: undefined };
    const address = this.#addressOf(from);
    const { connectionsPerAddress } = this.limits;
    if (connectionsPerAddress > 0 && address.connections >= connectionsPerAddress) return undefined;
    address.connections += 1;
    socket.once("close", () => {
      address.connections -= 1;
      this.#forget(address);
    });
    return { bytes: 0, address };
  }

  #recount({ exchanges }: AddressAccount): void {
    for (const exchange of exchanges) exchange.count();
  }

  /** Takes a request in; undefined when its connection or its address holds as much as it may. */
  begin(connection: ConnectionAccount, request: IncomingMessage, response: ServerResponse): Exchange | undefined {
    const address = connection.address ?? this.#addressOf(proxyAddr(request, this.#isProxy));
    const { bytesPerConnection, bytesPerAddress } = this.limits;
    const isFull = () =>
      (connection.address !== undefined && connection.bytes >= bytesPerConnection) || address.bytes >= bytesPerAddress;
    if (isFull()) {
      const now = performance.now();
      if (now - address.recountedAt >= recountMs) {
        address.recountedAt = now;
        this.#recount(address);
      }
      if (isFull()) return undefined;
    }
    const exchange = new Exchange(response, { accounts: this, connection, address });
    address.exchanges.add(exchange);
    return exchange;
  }

  /** An exchange is over. */
  close(exchange: Exchange): void {
    exchange.address.exchanges.delete(exchange);
    this.#forget(exchange.address);
  }

  /** Addresses that hold anything. */
  get size(): number {
    return this.#addresses.size;
  }
}
