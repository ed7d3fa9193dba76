import type { HandlerContext, ServiceImpl } from "@connectrpc/connect";
import type { AuthService } from "@turnwright/contract/auth/v1/auth_service";
import { ErrorReason, fail } from "@turnwright/platform/errors";
import { type AccessTokenKey, signAccessToken } from "@turnwright/platform/identity/access-token";
import { clientAddressHeader, clientAgentHeader, requireIdentity } from "@turnwright/platform/identity/identity";
import { appendAudit } from "@turnwright/platform/postgres/audit-log";
import { transaction } from "@turnwright/platform/postgres/pool";
import { uuidv7 } from "@turnwright/platform/uuid";
import { sessionLimit } from "../config.ts";
import { holdCaller, retryingDeadlocks } from "../held-caller.ts";
import { beginLogin } from "../login-limits.ts";
import { hashToken, newRefreshToken } from "../opaque-tokens.ts";
import type { PasswordClient } from "../passwords.ts";
import { checkInvite, checkRegistration, holdInvite, redeemInvite } from "../registration.ts";
import { holdAccount, holdAccountOfRefreshToken } from "../store/accounts.ts";
import {
  findRetriedRefresh,
  hasSession,
  insertSession,
  listSessions,
  refreshesPerMinute,
  revokeAllSessions,
  revokeReusedFamily,
  revokeSession,
  rotateRefreshToken,
} from "../store/sessions.ts";
import type { SessionClient } from "../store/tokens.ts";
import { findPasswordHash, findUser, findUserByEmail, insertUser, replacePasswordHash } from "../store/users.ts";
import { type AuthDeps, announce, requireSession } from "./deps.ts";

/** The client for whom a password is hashed or verified: its address, and the account that it names. */
function clientOf(ctx: HandlerContext, account: string): Required<PasswordClient> {
  return { address: ctx.requestHeader.get(clientAddressHeader) ?? "", account, signal: ctx.signal };
}

/** Characters of a client's name and of its address that are stored. */
const [maxAgentUnits, maxAddressUnits] = [300, 64];

/** The client that opens or renews a session. */
function sessionClientOf({ requestHeader }: HandlerContext): SessionClient {
  const text = (name: string, most: number) => (requestHeader.get(name) ?? "").slice(0, most);
  return { userAgent: text(clientAgentHeader, maxAgentUnits), address: text(clientAddressHeader, maxAddressUnits) };
}

/** Handlers for registration, login, sessions and passwords. */
export function authHandlers(deps: AuthDeps): ServiceImpl<typeof AuthService> {
  const { config, pool, users, passwords, bus, idempotency } = deps;
  const accessKey = (): AccessTokenKey => (config.JWT_SECRET === undefined ? deps.keys.current() : { secret: config.JWT_SECRET });
  const issue = async (session: { userId: string; sessionId: string; role: string }) => ({
    accessToken: await signAccessToken(accessKey(), { ...session, expiresAt: Date.now() + config.JWT_ACCESS_TTL }),
    tokenType: "Bearer",
    expiresIn: Math.floor(config.JWT_ACCESS_TTL / 1000),
  });
  const refreshEnd = () => new Date(Date.now() + config.JWT_REFRESH_TTL);

  return {
    async register(request, ctx) {
      checkRegistration(config.REGISTRATION, request);
      const { response } = await idempotency.once(ctx, request, {
        transaction: (work) => transaction(pool, work),
        async prepare() {
          await checkInvite(pool, request);
          return passwords.inTurn(clientOf(ctx, request.email.toLowerCase()), ({ hash }) => hash(request.password));
        },
        async act(tx, passwordHash) {
          const id = uuidv7();
          const { email, name } = request;
          const invite = await holdInvite(tx, request);
          const user = await insertUser(tx, { id, email: email.toLowerCase(), passwordHash, name });
          if (invite !== undefined) await redeemInvite(tx, invite, id);
          const details: Record<string, string> = invite === undefined ? {} : { invite: invite.id };
          await appendAudit(tx, ctx, { action: "user.registered", outcome: "success", subject: id, actorId: id, details });
          return { user };
        },
      });
      return response;
    },

    async login({ email, password }, ctx) {
      const client = clientOf(ctx, email.toLowerCase());
      // The statements run in the same turn, so a client that floods the queue cannot exhaust the database connections
      // instead.
      const { attempt, found, fits } = await passwords.inTurn(client, async ({ verify }) => {
        const attempt = await beginLogin(pool, client);
        const found = await findUserByEmail(pool, client.account);
        return { attempt, found, fits: await verify(found?.passwordHash, password) };
      });
      const sessionId = uuidv7();
      const refreshToken = newRefreshToken();
      const user =
        fits && found?.user.isActive
          ? await retryingDeadlocks(() =>
              transaction(pool, async (tx) => {
                const token = {
                  id: uuidv7(),
                  userId: found.user.id,
                  familyId: sessionId,
                  tokenHash: hashToken(refreshToken),
                  expiresAt: refreshEnd(),
                  perMinute: sessionLimit(config),
                  perDay: config.RATE_LIMIT_PER_DAY,
                  client: sessionClientOf(ctx),
                };
                // Verifying a password takes a while, in which the password may change or the account be disabled.
                const account = await insertSession(tx, token, { passwordHash: found.passwordHash });
                if (account === undefined) return undefined;
                const { id: actorId } = account;
                await appendAudit(tx, ctx, { action: "session.created", outcome: "success", actorId, subject: sessionId });
                return account;
              }),
            )
          : undefined;
      if (user === undefined) {
        const actorId = found?.user.id ?? "";
        await appendAudit(pool, ctx, { action: "session.created", outcome: "failure", actorId, subject: actorId });
        throw fail(ErrorReason.INVALID_CREDENTIALS, "Email or password is wrong.");
      }
      await attempt.forgive();
      return { ...(await issue({ userId: user.id, sessionId, role: user.role })), refreshToken, user };
    },

    async refresh({ refreshToken: presented }, ctx) {
      const children = deps.refreshChildren(presented);
      const [child = ""] = children;
      const oldHash = hashToken(presented);
      const rotated = await rotateRefreshToken(pool, {
        oldHash,
        id: uuidv7(),
        newHash: hashToken(child),
        expiresAt: refreshEnd(),
        perMinute: sessionLimit(config),
        client: sessionClientOf(ctx),
      });
      if (rotated === "limited") {
        const text = `A session may be refreshed ${refreshesPerMinute} times a minute.`;
        throw fail(ErrorReason.RATE_LIMITED, text, { retryAfterSeconds: 60 });
      }
      if (rotated !== undefined) return { ...(await issue(rotated)), refreshToken: child };
      for (const refreshToken of children) {
        const session = await findRetriedRefresh(pool, { oldHash, newHash: hashToken(refreshToken) });
        if (session !== undefined) return { ...(await issue(session)), refreshToken };
      }
      const ended = await transaction(pool, async (tx) => {
        await holdAccountOfRefreshToken(tx, oldHash);
        const reused = await revokeReusedFamily(tx, oldHash);
        if (reused !== undefined) {
          const { userId: actorId, sessionId: subject } = reused;
          await appendAudit(tx, ctx, { action: "session.refresh_token_reused", outcome: "failure", actorId, subject });
        }
        return reused;
      });
      if (ended !== undefined) await announce(bus, [ended.sessionId]);
      throw fail(ErrorReason.INVALID_REFRESH_TOKEN, "The refresh token is not valid.", { param: "refresh_token" });
    },

    async logout(_request, ctx) {
      const { userId, tokenId } = requireSession(ctx);
      await users.transaction(userId, async (tx) => {
        await holdAccount(tx, userId, "alone");
        await revokeSession(tx, { userId, sessionId: tokenId });
        await appendAudit(tx, ctx, { action: "session.ended", outcome: "success", subject: tokenId });
      });
      await announce(bus, [tokenId]);
      return {};
    },

    async getCurrentUser(_request, ctx) {
      const user = await findUser(pool, requireIdentity(ctx).userId);
      if (user === undefined) throw fail(ErrorReason.NOT_FOUND, "The account no longer exists.");
      return { user };
    },

    async listSessions(_request, ctx) {
      const { userId, tokenId } = requireSession(ctx);
      const sessions = await users.as(userId, (db) => listSessions(db, userId));
      for (const session of sessions) session.isCurrent = session.id === tokenId;
      return { sessions };
    },

    async revokeSession({ sessionId }, ctx) {
      const { userId } = requireSession(ctx);
      const session = { userId, sessionId };
      const ended = await users.transaction(userId, async (tx) => {
        await holdAccount(tx, userId, "alone");
        const wasLive = await revokeSession(tx, session);
        if (wasLive) await appendAudit(tx, ctx, { action: "session.ended", outcome: "success", subject: sessionId });
        return wasLive;
      });
      if (ended) await announce(bus, [sessionId]);
      else if (!(await users.as(userId, (db) => hasSession(db, session)))) {
        throw fail(ErrorReason.NOT_FOUND, "There is no such session.", { param: "session_id" });
      }
      return {};
    },

    async changePassword({ currentPassword, newPassword }, ctx) {
      const { userId } = requireSession(ctx);
      if (currentPassword === newPassword) {
        throw fail(ErrorReason.INVALID_REQUEST, "new_password: must differ from the current password", {
          param: "new_password",
        });
      }
      const client = clientOf(ctx, userId);
      const { attempt, oldHash, newHash } = await passwords.inTurn(client, async ({ hash, verify }) => {
        const attempt = await beginLogin(pool, client);
        const oldHash = await findPasswordHash(pool, userId);
        const fits = await verify(oldHash, currentPassword);
        return { attempt, oldHash, newHash: fits ? await hash(newPassword) : undefined };
      });
      if (oldHash === undefined || newHash === undefined) {
        await appendAudit(pool, ctx, { action: "password.changed", outcome: "failure", subject: userId });
        throw fail(ErrorReason.INVALID_CREDENTIALS, "current_password: is wrong", { param: "current_password" });
      }
      const ended = await transaction(pool, async (tx) => {
        await holdCaller(tx, ctx, "alone");
        if (!(await replacePasswordHash(tx, { id: userId, oldHash, newHash }))) {
          throw fail(ErrorReason.CONFLICT, "The password was changed at the same time; log in again.");
        }
        const sessions = await revokeAllSessions(tx, userId);
        await appendAudit(tx, ctx, { action: "password.changed", outcome: "success", subject: userId });
        return sessions;
      });
      await attempt.forgive();
      await announce(bus, ended);
      return {};
    },
  };
}
