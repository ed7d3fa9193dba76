import { randomUUID } from "node:crypto";
import { password, type RaceStage, replicas, type Subject, sha256, underKey } from "./stage.ts";

/** A credential created in a race. */
export interface Product {
  readonly hash: Buffer;
  /** The kind of credential from which it was created. */
  readonly through: "session" | "key" | "password";
}

/** A way to create credentials from those of an account. */
export interface Creation {
  readonly name: string;
  /** Milliseconds over which the start of a revocation is spread, so that it hits every step. */
  readonly spreadMs: number;
  /** Tries it several times at once on all replicas; returns what was created. Refused calls create nothing. */
  attempt(stage: RaceStage, subject: Subject): Promise<Product[]>;
}

const everyReplica = Array.from({ length: replicas }, (_one, replica) => replica);

/** The products of concurrent calls; refusals produce nothing. */
async function madeBy(calls: readonly Promise<Product | readonly Product[]>[]): Promise<Product[]> {
  const settled = await Promise.allSettled(calls);
  return settled.flatMap((one) => (one.status === "fulfilled" ? one.value : []));
}

const callers = ["session", "key"] as const;

/** Every way in which a credential is created. */
export const creations: readonly Creation[] = [
  {
    name: "refresh",
    spreadMs: 20,
    async attempt(stage, { session }) {
      const made: Product[] = [];
      let refreshToken = session.refreshToken;
      for (let i = 0; i < 12; i++) {
        const answer = await stage
          .anonymous(i % replicas)
          .auth.refresh({ refreshToken })
          .catch(() => undefined);
        if (answer === undefined) break;
        refreshToken = answer.refreshToken;
        made.push({ hash: sha256(refreshToken), through: "session" });
      }
      return made;
    },
  },
  {
    name: "login",
    spreadMs: 60,
    attempt: (stage, { email }) =>
      madeBy(
        everyReplica.map(async (replica) => {
          const { refreshToken } = await stage.anonymous(replica).auth.login({ email, password });
          return { hash: sha256(refreshToken), through: "password" } as const;
        }),
      ),
  },
  {
    name: "create key",
    spreadMs: 12,
    attempt: (_stage, subject) =>
      madeBy(
        everyReplica.flatMap((replica) =>
          callers.map(async (through) => {
            const { key } = await subject[through].at(replica).keys.createApiKey({ name: `through ${through}` });
            return { hash: sha256(key), through };
          }),
        ),
      ),
  },
  {
    name: "rotate key",
    spreadMs: 8,
    attempt: (_stage, subject) =>
      madeBy(
        callers.map(async (through, replica) => {
          const { key } = await subject[through].at(replica).keys.rotateApiKey({ apiKeyId: subject.key.tokenId });
          return { hash: sha256(key), through };
        }),
      ),
  },
  {
    name: "replay of create",
    spreadMs: 12,
    attempt: (_stage, subject) => {
      const fresh = { session: underKey(randomUUID()), key: underKey(randomUUID()) };
      return madeBy(
        everyReplica.flatMap((replica) => [
          subject.key
            .at(replica)
            .keys.createApiKey({ name: "through key, before" }, underKey(subject.key.idempotencyKey))
            .then(({ key }) => ({ hash: sha256(key), through: "key" }) as const),
          ...callers.map((through) =>
            subject[through]
              .at(replica)
              .keys.createApiKey({ name: `through ${through}` }, fresh[through])
              .then(({ key }) => ({ hash: sha256(key), through })),
          ),
        ]),
      );
    },
  },
];

/** Several creations at once on one account: each of them races the revocation and the others. */
export function together(names: readonly string[]): Creation {
  const chosen = creations.filter(({ name }) => names.includes(name));
  return {
    name: names.join(", "),
    spreadMs: Math.max(...chosen.map(({ spreadMs }) => spreadMs)),
    attempt: async (stage, subject) => (await Promise.all(chosen.map((one) => one.attempt(stage, subject)))).flat(),
  };
}
