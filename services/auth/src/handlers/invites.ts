import { timestampDate } from "@bufbuild/protobuf/wkt";
import type { ServiceImpl } from "@connectrpc/connect";
import type { InviteService } from "@turnwright/contract/auth/v1/invite_service";
import { ErrorReason, fail } from "@turnwright/platform/errors";
import { requireIdentity } from "@turnwright/platform/identity/identity";
import { appendAudit } from "@turnwright/platform/postgres/audit-log";
import { decodeCursor, encodeCursor } from "@turnwright/platform/postgres/keyset-cursor";
import { transaction } from "@turnwright/platform/postgres/pool";
import { uuidv7 } from "@turnwright/platform/uuid";
import { holdAdmin } from "../held-caller.ts";
import { hashToken, newInvite } from "../opaque-tokens.ts";
import { insertInvite, listInvites, revokeInvite } from "../store/invites.ts";
import type { AuthDeps } from "./deps.ts";

const dayMs = 86_400_000;
const usualDays = 7;
const mostDays = 366;

/** Handlers for invites, which only admins may call. */
export function inviteHandlers({ config, pool, idempotency }: AuthDeps): ServiceImpl<typeof InviteService> {
  return {
    async createInvite(request, ctx) {
      if (config.REGISTRATION === "closed") {
        throw fail(
          ErrorReason.REGISTRATION_CLOSED,
          "Registration is closed: nobody could use an invite. Create an account instead.",
        );
      }
      const expiresAt = request.expiresAt ? timestampDate(request.expiresAt) : new Date(Date.now() + usualDays * dayMs);
      if (!(expiresAt.getTime() <= Date.now() + mostDays * dayMs)) {
        throw fail(ErrorReason.INVALID_REQUEST, "expires_at: must be within a year", { param: "expires_at" });
      }
      const { response } = await idempotency.once(ctx, request, {
        transaction: (work) =>
          transaction(pool, async (tx) => {
            await holdAdmin(tx, ctx);
            return work(tx);
          }),
        async act(tx) {
          const secret = newInvite();
          const id = uuidv7();
          const email = request.email?.toLowerCase();
          const createdBy = requireIdentity(ctx).userId;
          const invite = await insertInvite(tx, { id, createdBy, secretHash: hashToken(secret), email, expiresAt });
          const details = { expires_at: expiresAt.toISOString(), is_bound: email !== undefined };
          await appendAudit(tx, ctx, { action: "invite.created", outcome: "success", subject: id, details });
          return { invite, secret };
        },
      });
      return response;
    },

    async listInvites({ limit = 50, cursor }) {
      const { invites, next } = await listInvites(pool, { after: decodeCursor(cursor), limit });
      return { invites, nextCursor: next === undefined ? "" : encodeCursor(next) };
    },

    async revokeInvite({ inviteId }, ctx) {
      const invite = await transaction(pool, async (tx) => {
        await holdAdmin(tx, ctx);
        const revoked = await revokeInvite(tx, inviteId);
        if (revoked === undefined) {
          throw fail(ErrorReason.NOT_FOUND, "There is no such invite.", { param: "invite_id" });
        }
        if (revoked.ended) await appendAudit(tx, ctx, { action: "invite.revoked", outcome: "success", subject: inviteId });
        return revoked.invite;
      });
      return { invite };
    },
  };
}
