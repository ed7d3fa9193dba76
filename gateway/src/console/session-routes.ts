import type { Client } from "@connectrpc/connect";
import type { AuthService } from "@turnwright/contract/auth/v1/auth_service";
import { UserSchema } from "@turnwright/contract/auth/v1/identity";
import { ErrorReason, fail, reasonOf } from "@turnwright/platform/errors";
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import { z } from "zod";
import { callHeaders } from "../admission/call-headers.ts";
import type { Limits } from "../admission/limits.ts";
import { disconnectSignal } from "../http/disconnect.ts";
import { takeJsonBodies } from "../http/json-bodies.ts";
import { JsonWriters } from "../transcoding/json-writer.ts";
import { checkSameOrigin } from "./same-origin.ts";
import { cookieToken, endingCookie, keepingCookie } from "./session-cookie.ts";

/** Dependencies of the session's routes. */
export interface SessionDeps {
  readonly auth: Pick<Client<typeof AuthService>, "login" | "refresh">;
  readonly limits: Pick<Limits, "takeAddress">;
  /** Deadline of a call, in milliseconds. */
  readonly callTimeoutMs: number;
}

const path = "/console/session";
/** Largest body, in bytes: an address and a password. */
const bodyBytes = 4_096;
const loginShape = z.object({ email: z.string().min(1).max(254), password: z.string().min(1).max(128) });

function loginOf(body: unknown): z.output<typeof loginShape> {
  let json: unknown;
  try {
    json = JSON.parse(body instanceof Uint8Array ? Buffer.from(body).toString("utf8") : "");
  } catch {
    throw fail(ErrorReason.INVALID_REQUEST, "body: not valid JSON", { param: "body" });
  }
  const parsed = loginShape.safeParse(json);
  if (parsed.success) return parsed.data;
  const param = String(parsed.error.issues[0]?.path[0] ?? "body");
  throw fail(ErrorReason.INVALID_REQUEST, `${param}: is missing or too long`, { param });
}

/**
 * The session of a browser: the refresh token stands in a cookie that no script reads and that is sent nowhere else;
 * the page gets access tokens only. Another site's page can use none of these routes.
 */
export function serveSession(app: FastifyInstance, { auth, limits, callTimeoutMs }: SessionDeps): void {
  takeJsonBodies(app, /^application\/json\b/);
  const writeUser = new JsonWriters().whole(UserSchema);
  const options = (kind: "check" | "read", errorCode: string) => ({
    config: { cors: false, bodyBytes, errorContext: { errorCode } },
    onRequest: async (request: FastifyRequest, reply: FastifyReply) => {
      checkSameOrigin(request);
      await limits.takeAddress(request.ip, reply, kind);
    },
  });
  const callOf = (request: FastifyRequest, reply: FastifyReply) => ({
    headers: callHeaders(request, undefined),
    signal: disconnectSignal(request, reply),
    timeoutMs: callTimeoutMs,
  });

  app.post(path, options("check", "LOGIN_ERROR"), async (request, reply) => {
    const answer = await auth.login(loginOf(request.body), callOf(request, reply));
    reply.header("set-cookie", keepingCookie(request, answer.refreshToken));
    const user = answer.user === undefined ? null : writeUser(answer.user);
    return { success: true, data: { access_token: answer.accessToken, expires_in: answer.expiresIn, user } };
  });

  app.put(path, options("read", "REFRESH_ERROR"), async (request, reply) => {
    const refreshToken = cookieToken(request);
    // A browser that has never logged in is no error, which its console would list.
    if (refreshToken === undefined) return { success: true, data: null };
    try {
      const answer = await auth.refresh({ refreshToken }, callOf(request, reply));
      reply.header("set-cookie", keepingCookie(request, answer.refreshToken));
      return { success: true, data: { access_token: answer.accessToken, expires_in: answer.expiresIn } };
    } catch (error) {
      // Only a verdict ends the session: an outage does not.
      if (reasonOf(error) === ErrorReason.INVALID_REFRESH_TOKEN) reply.header("set-cookie", endingCookie(request));
      throw error;
    }
  });

  app.delete(path, options("read", "LOGOUT_ERROR"), async (request, reply) => {
    reply.header("set-cookie", endingCookie(request));
    return { success: true, data: {} };
  });
}
