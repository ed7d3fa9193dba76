import { randomUUID } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { restApi } from "../e2e/api.ts";
import { startSystem } from "../e2e/system.ts";
import type { Creation, Creator } from "./creation.ts";
import { creations } from "./creations.ts";
import { type Surface, type SurfaceAnswer, type SurfaceName, surfaceNames, surfacesOf } from "./surfaces.ts";

/** The results of duplicates of one request under one key. */
export interface DuplicateFigures {
  /** The created resource and the surface; `all`: each surface in turn. */
  readonly name: string;
  readonly sent: number;
  /** Number of distinct successful responses, counted per surface. */
  readonly distinct: number;
  /** Responses that are not marked as replayed. */
  readonly first: number;
  readonly effects: number;
  /** The response to a different request under the key. */
  readonly otherRequest: string;
  /** Failures among the duplicates. */
  readonly failures: readonly string[];
  /** Whether the response was still the same after a kill -9 of every process. */
  readonly sameAfterKill: boolean;
}

const account = { email: "creator@example.com", password: "SecurePass123" };
const admin = { email: "admin@example.com", password: "AdminSecurePass123" };

/** The refusal of a reused key, per surface. */
const refusals: Readonly<Record<SurfaceName, string>> = {
  rest: "422 IDEMPOTENCY_KEY_REUSED",
  connect: "ERROR_REASON_IDEMPOTENCY_KEY_REUSED",
  grpc: "ERROR_REASON_IDEMPOTENCY_KEY_REUSED",
};

interface Sent {
  readonly figures: Omit<DuplicateFigures, "sameAfterKill">;
  readonly creation: Creation;
  readonly key: string;
  readonly over: readonly SurfaceName[];
  readonly texts: readonly (string | undefined)[];
}

const namedIn = ({ named = (text: string) => text }: Creation, text: string): string => named(text);

const withKey = <T extends { headers: Readonly<Record<string, string>> }>(call: T, key: string): T => ({
  ...call,
  headers: { ...call.headers, "idempotency-key": key },
});

async function sendAll(
  name: string,
  surfaces: Readonly<Record<SurfaceName, Surface>>,
  over: readonly SurfaceName[],
  creation: Creation,
  duplicates: number,
): Promise<Sent> {
  const key = randomUUID();
  const call = withKey(creation.call, key);
  const surfaceOf = (i: number) => over[i % over.length] as SurfaceName;
  const answers = await Promise.all(Array.from({ length: duplicates }, (_, i) => surfaces[surfaceOf(i)](call)));
  const texts = (surface: SurfaceName) =>
    new Set(
      answers
        .filter((answer: SurfaceAnswer, i) => answer.ok && surfaceOf(i) === surface)
        .map(({ text }) => namedIn(creation, text)),
    );
  const others = await Promise.all(over.map((surface) => surfaces[surface](withKey(creation.other, key))));
  const oddly = others.map(({ code, text }) => code || text).filter((code, i) => code !== refusals[over[i] as SurfaceName]);
  return {
    figures: {
      name: `${name} over ${over.length === 1 ? over[0] : "all"}`,
      sent: duplicates,
      distinct: over.reduce((count, surface) => count + texts(surface).size, 0) / over.length,
      first: answers.filter(({ replayed }) => !replayed).length,
      effects: await creation.effects([...texts(over[0] as SurfaceName)][0] ?? ""),
      otherRequest: oddly.length === 0 ? "refused" : oddly.join(", "),
      failures: answers.filter(({ ok }) => !ok).map(({ code, text }) => `${code} ${text}`),
    },
    creation,
    key,
    over,
    texts: over.map((surface) => [...texts(surface)][0]),
  };
}

async function creatorOf(baseUrl: string): Promise<Creator> {
  const api = restApi(baseUrl);
  const { accessToken: token } = await api.login(account.email, account.password);
  const { accessToken: adminToken } = await api.login(admin.email, admin.password);
  return { baseUrl, token, adminToken };
}

/**
 * Sends each creation many times at once under one key, over each surface alone and over all in turn; then a different
 * request under the key; then, after a kill -9 of every process, the first one again. Uses its own processes and its
 * own PostgreSQL.
 */
export async function duplicateCreations(options: {
  shape: "all-in-one" | "mesh";
  duplicates: number;
  /** Names of `creations`; default: all. */
  names?: readonly string[];
}): Promise<DuplicateFigures[]> {
  const { shape, duplicates, names = Object.keys(creations) } = options;
  const dataDir = mkdtempSync(join(tmpdir(), "turnwright-duplicates-"));
  const env = {
    TURNWRIGHT_DATA_DIR: dataDir,
    ADMIN_EMAIL: admin.email,
    ADMIN_PASSWORD: admin.password,
    RATE_LIMIT_ENABLED: "false",
    LOG_LEVEL: "warn",
    WEBHOOK_ALLOWED_HOSTS: "127.0.0.1:9",
  };
  let system = await startSystem({ shape, env });
  try {
    await restApi(system.baseUrl).register(account.email, account.password);
    const creator = await creatorOf(system.baseUrl);
    const sent: Sent[] = [];
    for (const name of names) {
      const kind = creations[name];
      if (kind === undefined) throw new Error(`Unknown creation: ${name}.`);
      for (const over of [...surfaceNames.map((surface) => [surface]), surfaceNames]) {
        sent.push(await sendAll(name, surfacesOf(system.baseUrl), over, await kind.make(creator), duplicates));
      }
    }
    await system.killAll();
    system = await startSystem({ shape, env });
    const surfaces = surfacesOf(system.baseUrl);
    return await Promise.all(
      sent.map(async ({ figures, creation, key, over, texts }) => {
        const again = await Promise.all(over.map((surface) => surfaces[surface](withKey(creation.call, key))));
        return {
          ...figures,
          sameAfterKill: again.every(({ ok, text, replayed }, i) => ok && replayed && namedIn(creation, text) === texts[i]),
        };
      }),
    );
  } finally {
    await system.stop();
    rmSync(dataDir, { recursive: true, force: true });
  }
}

/** Whether duplicates had one effect and one response, and the different request none. */
export function isOnce(figures: DuplicateFigures): boolean {
  const { sent, distinct, first, effects, otherRequest, failures, sameAfterKill } = figures;
  const hadOneEffect = distinct === 1 && first === 1 && effects === 1 && failures.length === 0;
  return sent > 1 && hadOneEffect && otherRequest === "refused" && sameAfterKill;
}
