import { setTimeout as delay } from "node:timers/promises";
import { refuses, type ScriptedEndpoint, says, startScriptedEndpoint } from "../endpoints/scripted-endpoint.ts";
import { newUser, type User } from "../endpoints/user.ts";
import { inParallel } from "./cell.ts";
import type { StartSystem } from "./fault-stage.ts";
import { tally, type Verdict } from "./verdict.ts";

/** One second of the curve. */
export interface Moment {
  readonly second: number;
  sent: number;
  /** Requests that reached the endpoint. */
  reached: number;
  answered: number;
  /** Requests that failed without reaching the endpoint. */
  refused: number;
}

/** An endpoint that can be down: it then answers 500 after a while. */
class Downtime {
  isDown = false;
  inFlight = 0;
  mostInFlight = 0;
  readonly #endpoint: ScriptedEndpoint;

  constructor(endpoint: ScriptedEndpoint) {
    this.#endpoint = endpoint;
    endpoint.script = (body, response) => {
      if (!this.isDown) return says(body, "ok");
      this.inFlight += 1;
      this.mostInFlight = Math.max(this.mostInFlight, this.inFlight);
      response.once("close", () => {
        this.inFlight -= 1;
      });
      setTimeout(() => response.writeHead(500, { "content-type": "application/json" }).end('{"error":{"message":"down"}}'), 30);
      return undefined;
    };
  }

  get reached(): number {
    return this.#endpoint.received.length;
  }
}

const ask = (user: User, index: number | string, model: string) =>
  user.ask("completion", `question ${index}`, model, { timeoutMs: 20_000 });

/** Failures, one after another, until a request no longer reaches the endpoint: at most `limit`. */
async function untilOpen(user: User, down: Downtime, limit: number): Promise<{ failures: number; retryAfter: string | null }> {
  for (let failures = 0; failures < limit; failures++) {
    const before = down.reached;
    const { retryAfter } = await ask(user, `opening ${failures}`, "mock");
    if (down.reached === before) return { failures, retryAfter };
  }
  return { failures: limit, retryAfter: null };
}

/** Sends requests from several clients for a time, and counts them by second. */
async function curve(
  user: User,
  down: Downtime,
  options: { seconds: number; upAfterMs: number; clients: number },
): Promise<Moment[]> {
  const moments = Array.from({ length: options.seconds }, (_, second) => ({
    second,
    sent: 0,
    reached: 0,
    answered: 0,
    refused: 0,
  }));
  const started = performance.now();
  const now = () => performance.now() - started;
  const recovering = delay(options.upAfterMs).then(() => {
    down.isDown = false;
  });
  const client = async (number: number) => {
    for (let count = 0; now() < options.seconds * 1000; count++) {
      const moment = moments[Math.floor(now() / 1000)];
      const before = down.reached;
      const { isWhole } = await ask(user, `${number} ${count}`, "mock");
      if (moment === undefined) break;
      moment.sent += 1;
      if (isWhole) moment.answered += 1;
      else if (down.reached === before) moment.refused += 1;
      await delay(25);
    }
  };
  const watching = (async () => {
    for (const moment of moments) {
      const before = down.reached;
      await delay(Math.max(0, (moment.second + 1) * 1000 - now()));
      moment.reached = down.reached - before;
    }
  })();
  await Promise.all([recovering, watching, ...Array.from({ length: options.clients }, (_, number) => client(number))]);
  return moments;
}

/** Requests of which every third reaches an endpoint that answers 500: the retries, in percent of the requests. */
async function retryShare(user: User, endpoint: ScriptedEndpoint, count: number): Promise<{ share: number; statuses: string }> {
  const before = endpoint.received.length;
  let asked = 0;
  endpoint.script = (body) => (++asked % 3 === 0 ? refuses(500, { message: "now and then" }) : says(body, "ok"));
  const outcomes = await inParallel(count, 16, (index) => ask(user, `budget ${index}`, "mock-budget"));
  const retries = endpoint.received.length - before - count;
  return { share: (100 * retries) / count, statuses: tally(outcomes.map(({ status }) => status)) };
}

/**
 * Row R6: the breaker opens after 5 failures and probes with one request at a time; retries stay below 20 % of the
 * traffic.
 */
export async function breaker(
  start: StartSystem,
  options: { seconds: number; requests: number; say: (line: string) => void },
): Promise<Verdict> {
  const endpoint = await startScriptedEndpoint();
  const env = { LLM_BASE_URL: endpoint.url, LLM_API_KEY: "sk-faults", LLM_DEFAULT_MODEL: "mock", LLM_TIMEOUT: "5s" };
  const system = await start({ ...env, RATE_LIMIT_ENABLED: "false", LOG_LEVEL: "error" });
  const breaches: string[] = [];
  try {
    const user = await newUser(system.baseUrl);
    const budget = await retryShare(user, endpoint, options.requests);
    // A floor of retries is always allowed.
    if (budget.share > 21 + 1_000 / options.requests) breaches.push(`retries are ${budget.share.toFixed(1)} % of the traffic`);
    const down = new Downtime(endpoint);
    down.isDown = true;
    const opened = await untilOpen(user, down, 20);
    if (opened.failures !== 5)
      breaches.push(`the breaker opened after ${opened.failures === 20 ? "more than 20" : opened.failures} failures`);
    if (opened.failures < 20 && !(Number(opened.retryAfter) > 0)) breaches.push("an open breaker tells no Retry-After");
    down.mostInFlight = 0;
    const upAfterMs = options.seconds * 400;
    const moments = await curve(user, down, { seconds: options.seconds, upAfterMs, clients: 8 });
    for (const { second, sent, reached, answered, refused } of moments)
      options.say(
        `    second ${second}: ${sent} sent, ${reached} reached the endpoint, ${answered} answered, ${refused} refused at once`,
      );
    const whileDown = moments.filter(({ second }) => (second + 1) * 1000 <= upAfterMs);
    const probes = whileDown.reduce((sum, { reached }) => sum + reached, 0);
    if (probes > 3 * whileDown.length)
      breaches.push(`${probes} requests reached the endpoint in ${whileDown.length} s of downtime`);
    if (down.mostInFlight > 1) breaches.push(`${down.mostInFlight} probes at once`);
    const last = moments.at(-1);
    if (last === undefined || last.answered < last.sent) breaches.push("the breaker has not closed");
    const figures = `opened after ${opened.failures} failures; ${probes} probes in ${whileDown.length} s of downtime, at most ${down.mostInFlight} at once; last second ${last?.answered} of ${last?.sent} answered; retries ${budget.share.toFixed(1)} % of ${options.requests} requests (${budget.statuses})`;
    return { figures, breaches };
  } finally {
    await system.stop();
    await endpoint.close();
  }
}
