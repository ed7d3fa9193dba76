import type { HandlerContext, ServiceImpl } from "@connectrpc/connect";
import type { UserService } from "@turnwright/contract/auth/v1/user_service";
import { ErrorReason, fail } from "@turnwright/platform/errors";
import { clientAddressHeader, requireIdentity } from "@turnwright/platform/identity/identity";
import { appendAudit } from "@turnwright/platform/postgres/audit-log";
import { decodeCursor, encodeCursor } from "@turnwright/platform/postgres/keyset-cursor";
import { type Tx, transaction } from "@turnwright/platform/postgres/pool";
import { uuidv7 } from "@turnwright/platform/uuid";
import { changeAccount, type Note, noSuchUser, resetPassword } from "../account-changes.ts";
import { holdAdmin } from "../held-caller.ts";
import { randomPassword } from "../opaque-tokens.ts";
import { revokeAllApiKeys } from "../store/api-keys.ts";
import { revokeInvitesOf } from "../store/invites.ts";
import { revokeAllSessions } from "../store/sessions.ts";
import { findUser, insertUser, listUsers } from "../store/users.ts";
import { type AuthDeps, announce } from "./deps.ts";

const ownPassword = () =>
  fail(
    ErrorReason.PERMISSION_DENIED,
    "Admins change their own password with POST /v1/auth/password, which asks for the present one.",
    { param: "user_id" },
  );

/** Writes to the audit log in the name of the caller. */
function noteBy(tx: Tx, ctx: HandlerContext): Note {
  return (event) => appendAudit(tx, ctx, event);
}

/** Handlers for accounts, which only admins may call. A change ends the credentials that it makes invalid. */
export function userHandlers({ pool, bus, passwords, idempotency }: AuthDeps): ServiceImpl<typeof UserService> {
  return {
    async createUser(request, ctx) {
      const { response } = await idempotency.once(ctx, request, {
        transaction: (work) =>
          transaction(pool, async (tx) => {
            await holdAdmin(tx, ctx);
            return work(tx);
          }),
        prepare() {
          const client = { address: ctx.requestHeader.get(clientAddressHeader) ?? "", account: requireIdentity(ctx).userId };
          return passwords.inTurn({ ...client, signal: ctx.signal }, ({ hash }) => hash(request.password));
        },
        async act(tx, passwordHash) {
          const id = uuidv7();
          const { email, name, role = "user" } = request;
          const user = await insertUser(tx, { id, email: email.toLowerCase(), passwordHash, name, role });
          await appendAudit(tx, ctx, { action: "user.created", outcome: "success", subject: id, details: { role } });
          return { user };
        },
      });
      return response;
    },

    async listUsers({ limit = 50, cursor, q, role, active }) {
      const filter = { words: q, role, isActive: active };
      const { users, next } = await listUsers(pool, { after: decodeCursor(cursor), limit }, filter);
      return { users, nextCursor: next === undefined ? "" : encodeCursor(next) };
    },

    async getUser({ userId }) {
      const user = await findUser(pool, userId);
      if (user === undefined) throw noSuchUser();
      return { user };
    },

    async updateUser({ userId, role, isActive, name, limits }, ctx) {
      if (name?.includes("\0")) throw fail(ErrorReason.INVALID_REQUEST, "name: must not have NUL characters", { param: "name" });
      const { user, ended } = await transaction(pool, async (tx) => {
        await holdAdmin(tx, ctx, userId);
        return await changeAccount(tx, noteBy(tx, ctx), { userId, role, isActive, name, limits });
      });
      await announce(bus, ended);
      return { user };
    },

    async resetUserPassword(request, ctx) {
      const { userId, newPassword, revokeApiKeys } = request;
      const self = requireIdentity(ctx).userId;
      // A thief of an admin's session must not keep the account by a password of their own.
      if (userId === self) throw ownPassword();
      let ended: string[] = [];
      const { response, replayed } = await idempotency.once(ctx, request, {
        transaction: (work) =>
          transaction(pool, async (tx) => {
            await holdAdmin(tx, ctx, userId);
            return work(tx);
          }),
        async prepare() {
          const password = newPassword ?? randomPassword();
          const client = { address: ctx.requestHeader.get(clientAddressHeader) ?? "", account: self, signal: ctx.signal };
          return { password, passwordHash: await passwords.inTurn(client, ({ hash }) => hash(password)) };
        },
        async act(tx, { password, passwordHash }) {
          const reset = await resetPassword(tx, noteBy(tx, ctx), { userId, passwordHash, revokeApiKeys });
          ended = [...reset.sessions, ...reset.keys];
          const counts = { sessions: reset.sessions.length, apiKeys: reset.keys.length };
          return { password: newPassword === undefined ? password : "", ...counts };
        },
      });
      if (!replayed) await announce(bus, ended);
      return response;
    },

    async revokeUserCredentials({ userId }, ctx) {
      const { sessions, keys } = await transaction(pool, async (tx) => {
        await holdAdmin(tx, ctx, userId);
        if ((await findUser(tx, userId)) === undefined) throw noSuchUser();
        const ended = { sessions: await revokeAllSessions(tx, userId), keys: await revokeAllApiKeys(tx, userId) };
        const invites = await revokeInvitesOf(tx, userId);
        const details = { sessions: ended.sessions.length, api_keys: ended.keys.length, invites: invites.length };
        await appendAudit(tx, ctx, { action: "user.credentials_revoked", outcome: "success", subject: userId, details });
        return ended;
      });
      await announce(bus, [...sessions, ...keys]);
      return { sessions: sessions.length, apiKeys: keys.length };
    },
  };
}
