import { toJsonString } from "@bufbuild/protobuf";
import type { ServiceImpl } from "@connectrpc/connect";
import { AccountLimitsSchema } from "@turnwright/contract/auth/v1/identity";
import type { UserService } from "@turnwright/contract/auth/v1/user_service";
import { appendAudit } from "@turnwright/platform/audit-log";
import { ErrorReason, fail } from "@turnwright/platform/errors";
import { transaction } from "@turnwright/platform/postgres";
import { revokeAllApiKeys } from "../store/api-keys.ts";
import { revokeAllSessions } from "../store/sessions.ts";
import { countOtherAdmins, findUser, listUsers, updateUser } from "../store/users.ts";
import { decodeCursor, encodeCursor } from "../user-cursor.ts";
import { type AuthDeps, announce } from "./deps.ts";

const noSuchUser = () => fail(ErrorReason.NOT_FOUND, "There is no such account.", { param: "user_id" });

/** Accounts, for admins. Each change ends what the account's credentials no longer stand for. */
export function userHandlers({ pool, bus }: AuthDeps): ServiceImpl<typeof UserService> {
  return {
    async listUsers({ limit = 50, cursor }) {
      const { users, last } = await listUsers(pool, { before: decodeCursor(cursor), limit });
      return { users, nextCursor: last === undefined ? "" : encodeCursor(last) };
    },

    async getUser({ userId }) {
      const user = await findUser(pool, userId);
      if (user === undefined) throw noSuchUser();
      return { user };
    },

    async updateUser({ userId, role, isActive, name, limits }, ctx) {
      if (name?.includes("\0")) throw fail(ErrorReason.INVALID_REQUEST, "name: must not have NUL characters", { param: "name" });
      const { user, ended } = await transaction(pool, async (tx) => {
        // One change at a time, so that two admins cannot take the role from each other.
        await tx.query("select pg_advisory_xact_lock(hashtext('turnwright.admins'))");
        const change = await updateUser(tx, { id: userId, role, isActive, name, limits });
        if (change === undefined) throw noSuchUser();
        const { before, after } = change;
        const isAdmin = after.role === "admin" && after.isActive;
        if (before.role === "admin" && before.isActive && !isAdmin && (await countOtherAdmins(tx, userId)) === 0) {
          throw fail(ErrorReason.CONFLICT, "The last admin cannot be taken away.", { param: "user_id" });
        }
        const sessions = before.role !== after.role || !after.isActive ? await revokeAllSessions(tx, userId) : [];
        const keys = after.isActive ? [] : await revokeAllApiKeys(tx, userId);
        const details = {
          role: after.role,
          is_active: after.isActive,
          ...(limits && { limits: toJsonString(AccountLimitsSchema, limits) }),
        };
        await appendAudit(tx, ctx, { action: "user.updated", outcome: "success", subject: userId, details });
        return { user: after, ended: [...sessions, ...keys] };
      });
      await announce(bus, ended);
      return { user };
    },

    async revokeUserCredentials({ userId }, ctx) {
      const { sessions, keys } = await transaction(pool, async (tx) => {
        if ((await findUser(tx, userId)) === undefined) throw noSuchUser();
        const ended = { sessions: await revokeAllSessions(tx, userId), keys: await revokeAllApiKeys(tx, userId) };
        const details = { sessions: ended.sessions.length, api_keys: ended.keys.length };
        await appendAudit(tx, ctx, { action: "user.credentials_revoked", outcome: "success", subject: userId, details });
        return ended;
      });
      await announce(bus, [...sessions, ...keys]);
      return { sessions: sessions.length, apiKeys: keys.length };
    },
  };
}
