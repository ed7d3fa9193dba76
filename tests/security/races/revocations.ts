import type { RaceStage, Subject } from "./stage.ts";

/** An action that ends credentials of an account. */
export interface Revocation {
  readonly name: string;
  /** Resolves with the response; `replica` is the one asked. */
  act(stage: RaceStage, subject: Subject, replica: number): Promise<unknown>;
  /** Milliseconds until it takes effect; creations begin within them. */
  readonly takesMs?: number;
  /** Callers that can do nothing after the response. */
  readonly ends: readonly ("session" | "key")[];
  /** Ends all sessions except those of a password presented since. */
  readonly allSessions?: boolean;
  /** Ends all keys, including those not named. */
  readonly allKeys?: boolean;
  /** Logins that presented the password before create no session either. */
  readonly logins?: boolean;
  /** The key lives on with another secret or fewer rights; the keys that it created before stay. */
  readonly keyStays?: boolean;
  /** Although the key lives on, what it created ends. */
  readonly created?: boolean;
}

/** Every way in which a credential ends. */
export const revocations: readonly Revocation[] = [
  { name: "logout", ends: ["session"], act: (_stage, { session }, replica) => session.at(replica).auth.logout({}) },
  {
    name: "revoke session",
    ends: ["session"],
    act: (_stage, { owner, session }, replica) => owner.at(replica).auth.revokeSession({ sessionId: session.tokenId }),
  },
  {
    name: "reuse of a refresh token",
    ends: ["session"],
    // It is refused; the refusal is the response.
    act: (stage, { session }, replica) =>
      stage
        .anonymous(replica)
        .auth.refresh({ refreshToken: session.used })
        .catch(() => {}),
  },
  {
    name: "change password",
    takesMs: 200,
    ends: ["session"],
    allSessions: true,
    logins: true,
    act: (_stage, { owner }, replica) =>
      owner.at(replica).auth.changePassword({ currentPassword: "SecurePass123", newPassword: "EvenMoreSecure456" }),
  },
  {
    name: "revoke key",
    ends: ["key"],
    act: (_stage, { owner, key }, replica) => owner.at(replica).keys.revokeApiKey({ apiKeyId: key.tokenId }),
  },
  {
    name: "delete key (SQL)",
    ends: ["key"],
    act: (stage, { key }) => stage.sql.query("delete from user_tokens where id = $1", [key.tokenId]),
  },
  {
    name: "revoke key (SQL)",
    ends: ["key"],
    act: (stage, { key }) => stage.sql.query("update user_tokens set is_revoked = true where id = $1", [key.tokenId]),
  },
  {
    name: "rotate key",
    ends: ["key"],
    keyStays: true,
    act: (_stage, { owner, key }, replica) => owner.at(replica).keys.rotateApiKey({ apiKeyId: key.tokenId }),
  },
  {
    name: "rotate a leaked key",
    ends: ["key"],
    keyStays: true,
    created: true,
    act: (_stage, { owner, key }, replica) => owner.at(replica).keys.rotateApiKey({ apiKeyId: key.tokenId, revokeCreated: true }),
  },
  // Admins act one at a time: in parallel rounds these wait for each other.
  {
    name: "change role",
    takesMs: 80,
    ends: ["session", "key"],
    allSessions: true,
    keyStays: true,
    act: async (stage, { userId }, replica) => (await stage.admin()).at(replica).users.updateUser({ userId, role: "agent" }),
  },
  {
    name: "revoke all of a user",
    takesMs: 80,
    ends: ["session", "key"],
    allSessions: true,
    allKeys: true,
    act: async (stage, { userId }, replica) => (await stage.admin()).at(replica).users.revokeUserCredentials({ userId }),
  },
  {
    name: "reset password",
    takesMs: 200,
    ends: ["session"],
    allSessions: true,
    logins: true,
    act: async (stage, { userId }, replica) => (await stage.admin()).at(replica).users.resetUserPassword({ userId }),
  },
  {
    name: "disable user",
    takesMs: 80,
    ends: ["session", "key"],
    allSessions: true,
    allKeys: true,
    logins: true,
    act: async (stage, { userId }, replica) => (await stage.admin()).at(replica).users.updateUser({ userId, isActive: false }),
  },
  {
    name: "disable user (SQL)",
    ends: ["session", "key"],
    allSessions: true,
    allKeys: true,
    logins: true,
    act: (stage, { userId }) => stage.sql.query("update users set is_active = false where id = $1", [userId]),
  },
  {
    name: "delete user (SQL)",
    ends: ["session", "key"],
    allSessions: true,
    allKeys: true,
    logins: true,
    act: (stage, { userId }) => stage.sql.query("delete from users where id = $1", [userId]),
  },
];
