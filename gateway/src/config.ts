import { duration, flag, integer, list, port, secret } from "@turnwright/platform/config/env";
import { meshEnv } from "@turnwright/platform/config/mesh-env";
import { redisEnv } from "@turnwright/platform/config/redis-env";
import { z } from "zod";

/** The gateway's environment. */
export const gatewayConfig = z.object({
  ...meshEnv,
  ...redisEnv,
  /** Verifies access tokens with HS256 when set; auth must have the same. */
  JWT_SECRET: secret(),
  SERVER_HOST: z.string().default("0.0.0.0"),
  SERVER_PORT: port(8080),
  /** Largest request body, in bytes. */
  SERVER_BODY_LIMIT: integer(1_048_576, { min: 1024, max: 8_388_608 }),
  /** How long a client may take to send a request. */
  SERVER_REQUEST_TIMEOUT: duration("15s"),
  /** Deadline of a call that is not streamed. */
  SERVER_CALL_TIMEOUT: duration("10m"),
  /** How long a client may take nothing of what waits for it before it is cut. */
  SERVER_STALL_TIMEOUT: duration("30s"),
  /** Connections of one address (IPv6: of a /64), proxies apart; 0: any number. */
  SERVER_ADDRESS_CONNECTIONS: integer(2_000, { min: 0 }),
  /**
   * Bytes that requests of one address may hold while they are under way: 16 KiB each, bodies, and answers not yet
   * read.
   */
  SERVER_ADDRESS_BYTES: integer(67_108_864, { min: 1_048_576 }),
  /** The same for one connection, proxies apart. */
  SERVER_CONNECTION_BYTES: integer(8_388_608, { min: 262_144 }),
  /** Requests that may be under way at once on one connection of HTTP/2. */
  SERVER_CONNECTION_STREAMS: integer(250, { min: 1, max: 1_000 }),
  /** Bytes of all clients together from which on readers who take nothing are cut after 5 s. */
  SERVER_PRESSURE_BYTES: integer(268_435_456, { min: 1_048_576 }),
  /** Silence after which a stream carries a comment. */
  SSE_HEARTBEAT: duration("15s"),
  /** Addresses or networks of proxies whose X-Forwarded-For tells the client's address; nobody else's does. */
  SERVER_TRUST_PROXY: list(),
  /** Origins that browsers may call from; `*`: all. */
  CORS_ORIGINS: list("*"),
  RATE_LIMIT_ENABLED: flag(true),
  /** Registrations and logins of one address in a minute. */
  RATE_LIMIT_AUTH_PER_MINUTE: integer(20, { min: 0 }),
});

/** The gateway's parsed environment. */
export type GatewayConfig = z.output<typeof gatewayConfig>;

/** What the gateway as a process of its own reads beside: where the services are. */
export const gatewayProcessConfig = z.object({
  ...gatewayConfig.shape,
  CONVERSATION_ADDR: list("localhost:9102"),
  AGENT_ADDR: list("localhost:9103"),
  TOOL_ADDR: list("localhost:9104"),
});
