import type { RaceStage, Subject } from "./stage.ts";

/** Something that ends credentials of an account. */
export interface Revocation {
  readonly name: string;
  /** Resolves with its answer. `replica` is the one that is asked. */
  act(stage: RaceStage, subject: Subject, replica: number): Promise<unknown>;
  /** Milliseconds that it takes to come to its effect; creations begin within them. */
  readonly takesMs?: number;
  /** The callers who can do nothing more after the answer. */
  readonly ends: readonly ("session" | "key")[];
  /** All sessions end that do not rest on a password shown since. */
  readonly allSessions?: boolean;
  /** All keys end, also those that nobody named. */
  readonly allKeys?: boolean;
  /** A login that has shown the password before makes no session either. */
  readonly logins?: boolean;
  /** The key lives on under another secret, or with less power; the keys that it made before stay. */
  readonly keyStays?: boolean;
  /** And yet what the key has created ends. */
  readonly created?: boolean;
}

/** Each way in which a credential ends. */
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
    // Refused; the refusal is the answer.
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
  // One admin acts at a time: beside other rounds these wait for each other.
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
