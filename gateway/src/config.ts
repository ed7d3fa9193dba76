import { duration, flag, integer, list, port } from "@turnwright/platform/config/env";
import { jwtEnv } from "@turnwright/platform/config/jwt-env";
import { meshEnv } from "@turnwright/platform/config/mesh-env";
import { redisEnv } from "@turnwright/platform/config/redis-env";
import { z } from "zod";

/** Environment variables of the gateway. */
export const gatewayConfig = z.object({
  ...meshEnv,
  ...redisEnv,
  ...jwtEnv,
  SERVER_HOST: z.string().default("0.0.0.0"),
  SERVER_PORT: port(8080),
  /** Time within which a client must send a request. */
  SERVER_REQUEST_TIMEOUT: duration("15s"),
  /** Deadline of a call that is not streamed. */
  SERVER_CALL_TIMEOUT: duration("10m"),
  /** Time after which a client that reads nothing of a waiting response is cut. */
  SERVER_STALL_TIMEOUT: duration("30s"),
  /** Connections per address (IPv6: per /64), proxies excepted; 0: unlimited. */
  SERVER_ADDRESS_CONNECTIONS: integer(2_000, { min: 0 }),
  /** Bytes that requests in flight of one address may hold: 16 KiB each, plus bodies and unread responses. */
  SERVER_ADDRESS_BYTES: integer(67_108_864, { min: 1_048_576 }),
  /** The same per connection, proxies excepted. */
  SERVER_CONNECTION_BYTES: integer(8_388_608, { min: 262_144 }),
  /** Maximum number of concurrent requests on one HTTP/2 connection. */
  SERVER_CONNECTION_STREAMS: integer(250, { min: 1, max: 1_000 }),
  /** Total bytes of all clients above which clients that read nothing are cut after 5 s. */
  SERVER_PRESSURE_BYTES: integer(268_435_456, { min: 1_048_576 }),
  /** Silence after which a comment is sent on a stream. */
  SSE_HEARTBEAT: duration("15s"),
  /** Callers to whom gRPC server reflection shows the API; `everyone`: also those without a credential. */
  SERVER_REFLECTION: z.enum(["off", "callers", "everyone"]).default("callers"),
  /** Addresses or networks of proxies whose X-Forwarded-For is trusted for the client's address. */
  SERVER_TRUST_PROXY: list(),
  /** Origins allowed to call from browsers; `*`: all. */
  CORS_ORIGINS: list("*"),
  /** Folder of a built console; unless given, the last that was built in this checkout. */
  CONSOLE_DIR: z.string().optional(),
  RATE_LIMIT_ENABLED: flag(true),
  /** Registrations and logins per address and minute. */
  RATE_LIMIT_AUTH_PER_MINUTE: integer(20, { min: 0 }),
});

/** The gateway's parsed environment. */
export type GatewayConfig = z.output<typeof gatewayConfig>;

/** Additional environment variables of the gateway as its own process: the addresses of the services. */
export const gatewayProcessConfig = z.object({
  ...gatewayConfig.shape,
  CONVERSATION_ADDR: list("localhost:9102"),
  AGENT_ADDR: list("localhost:9103"),
  TOOL_ADDR: list("localhost:9104"),
});
