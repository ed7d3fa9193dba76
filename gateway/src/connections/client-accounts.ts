import type { IncomingMessage, ServerResponse } from "node:http";
import type { Socket } from "node:net";
import proxyAddr from "@fastify/proxy-addr";
import { addressBlock } from "./address-block.ts";

/** Limits on what clients may hold of this process at once. 0 connections: unlimited. */
export interface AccountLimits {
  /** Maximum number of connections per address. */
  readonly connectionsPerAddress: number;
  /** Maximum bytes of a connection's requests in flight, including bodies and unread responses. */
  readonly bytesPerConnection: number;
  /** The same for all connections of an address. */
  readonly bytesPerAddress: number;
  /** Total bytes above which clients that do not read are cut early, whichever they are. */
  readonly bytesInAll: number;
  /** Proxies, whose connections carry requests of many clients. */
  readonly proxies: readonly string[];
}

/** Cost of a request in flight besides its body and response: headers and bookkeeping, in bytes. */
export const requestBytes = 16_384;
/**
 * A request whose body and response together exceed this may be ended on arrival; an event stream never buffers as
 * much.
 */
const largeBytes = 65_536;
/** How often the sums of an address at its limit are recomputed, in milliseconds. */
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
  /** Undefined for a proxy: each request names its client. */
  readonly address: AddressAccount | undefined;
}

/** A request and its response, until the response is complete. */
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

  /** Records the bytes now waiting for the reader. */
  count(): void {
    this.#book(requestBytes + this.#received + this.#response.writableLength);
  }

  /**
   * Records a piece of the body, which is held while the request is in flight; returns whether the limit is exceeded.
   */
  receive(bytes: number): boolean {
    this.#received += bytes;
    this.count();
    return this.isTooMuch();
  }

  /** The response is complete. */
  end(): void {
    this.#book(0);
    this.#accounts.close(this);
  }

  /** Whether it is large and exceeds the limit of its connection or address; a single request is always served. */
  isTooMuch(): boolean {
    if (this.#bytes <= largeBytes) return false;
    const isOver = ({ bytes }: Sum, limit: number) => bytes > limit && bytes > this.#bytes;
    const { bytesPerConnection, bytesPerAddress } = this.#accounts.limits;
    return (
      (this.connection.address !== undefined && isOver(this.connection, bytesPerConnection)) ||
      isOver(this.address, bytesPerAddress)
    );
  }

  /** Whether its client holds so much that clients that do not read must be cut soon. */
  isPressed(): boolean {
    const { bytesPerConnection, bytesPerAddress, bytesInAll } = this.#accounts.limits;
    return (
      (this.connection.address !== undefined && this.connection.bytes > bytesPerConnection / 2) ||
      this.address.bytes > bytesPerAddress / 2 ||
      this.#accounts.all.bytes > bytesInAll
    );
  }
}

/** Accounts for the memory that each connection and each address holds of this process. */
export class ClientAccounts {
  readonly limits: AccountLimits;
  /** Sum over all clients. */
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

  /** Opens the account of a new connection; undefined when its address has reached its limit. */
  open(socket: Socket): ConnectionAccount | undefined {
    const from = socket.remoteAddress ?? "";
    if (this.#isProxy(from, 0)) return { bytes: 0, address: undefined };
    const address = this.#addressOf(from);
    const { connectionsPerAddress } = this.limits;
    if (connectionsPerAddress > 0 && address.connections >= connectionsPerAddress) return undefined;
    address.connections += 1;
    socket.on("close", () => {
      address.connections -= 1;
      this.#forget(address);
    });
    return { bytes: 0, address };
  }

  #recount({ exchanges }: AddressAccount): void {
    for (const exchange of exchanges) exchange.count();
  }

  /** Admits a request; undefined when its connection or address has reached its limit. */
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

  /** Ends an exchange. */
  close(exchange: Exchange): void {
    exchange.address.exchanges.delete(exchange);
    this.#forget(exchange.address);
  }

  /** Number of addresses that hold anything. */
  get size(): number {
    return this.#addresses.size;
  }
}
