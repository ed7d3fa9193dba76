import { toJsonString } from "@bufbuild/protobuf";
import type { ServiceImpl } from "@connectrpc/connect";
import { AccountLimitsSchema } from "@turnwright/contract/auth/v1/identity";
import type { UserService } from "@turnwright/contract/auth/v1/user_service";
import { ErrorReason, fail } from "@turnwright/platform/errors";
import { clientAddressHeader, requireIdentity } from "@turnwright/platform/identity/identity";
import { appendAudit } from "@turnwright/platform/postgres/audit-log";
import { decodeCursor, encodeCursor } from "@turnwright/platform/postgres/keyset-cursor";
import { transaction } from "@turnwright/platform/postgres/pool";
import { uuidv7 } from "@turnwright/platform/uuid";
import { holdAdmin } from "../held-caller.ts";
import { listLiveKeyIds, revokeAllApiKeys } from "../store/api-keys.ts";
import { revokeInvitesOf } from "../store/invites.ts";
import { revokeAllSessions } from "../store/sessions.ts";
import { countOtherAdmins, findUser, insertUser, listUsers, updateUser } from "../store/users.ts";
import { type AuthDeps, announce } from "./deps.ts";

const noSuchUser = () => fail(ErrorReason.NOT_FOUND, "There is no such account.", { param: "user_id" });

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

    async listUsers({ limit = 50, cursor }) {
      const { users, next } = await listUsers(pool, { after: decodeCursor(cursor), limit });
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
        const change = await updateUser(tx, { id: userId, role, isActive, name, limits });
        if (change === undefined) throw noSuchUser();
        const { before, after } = change;
        const isAdmin = after.role === "admin" && after.isActive;
        if (before.role === "admin" && before.isActive && !isAdmin && (await countOtherAdmins(tx, userId)) === 0) {
          throw fail(ErrorReason.CONFLICT, "The last active admin cannot be demoted or disabled.", { param: "user_id" });
        }
        const sessions = before.role !== after.role || !after.isActive ? await revokeAllSessions(tx, userId) : [];
        const keys = after.isActive ? [] : await revokeAllApiKeys(tx, userId);
        // API keys stay valid under the new role, but cached identities still have the old one.
        const changed = before.role !== after.role && after.isActive ? await listLiveKeyIds(tx, userId) : [];
        if (!isAdmin) await revokeInvitesOf(tx, userId);
        const details = {
          role: after.role,
          is_active: after.isActive,
          ...(limits && { limits: toJsonString(AccountLimitsSchema, limits) }),
        };
        await appendAudit(tx, ctx, { action: "user.updated", outcome: "success", subject: userId, details });
        return { user: after, ended: [...sessions, ...keys, ...changed] };
      });
      await announce(bus, ended);
      return { user };
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
