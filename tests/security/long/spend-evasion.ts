import { parseArgs } from "node:util";
import { leaveCalls, spendEnvironment, spendingAccount, startEndlessModel, usageOf } from "../spend-attack.ts";
import { report, withSystem } from "./stage.ts";

const { values } = parseArgs({ options: { count: { type: "string", default: "1000" } } });
const count = Number(values.count);
const patienceMs = 30_000;

/** Waits until every request sent is recorded, or gives up. */
async function recorded(caller: { baseUrl: string; bearer: string }, requests: number) {
  for (const until = Date.now() + patienceMs; ; ) {
    const used = await usageOf(caller);
    if (used.requests >= requests || Date.now() > until) return used;
    await new Promise((resolve) => setTimeout(resolve, 250));
  }
}

const endless = await startEndlessModel();
try {
  await withSystem({ LLM_BASE_URL: endless.model.url, ...spendEnvironment }, async ({ baseUrl }) => {
    for (const [kind, credential] of [
      ["with a ceiling", "key"],
      ["without one", "token"],
    ] as const) {
      endless.arrivals.clear();
      // A login's usage includes that of the account's keys, so each kind has its own account.
      const account = await spendingAccount(baseUrl, `${credential}@example.com`, 1_000);
      const caller = { baseUrl, bearer: account[credential] };
      const { calls, promptTokens } = await leaveCalls(caller, endless, count);
      const used = await recorded(caller, calls);
      const isKept = used.requests === calls && used.prompt_tokens >= promptTokens;
      report(
        "S17",
        isKept,
        `${kind}: ${calls} calls left on every surface, ${used.requests} charged: ${used.prompt_tokens} tokens read of at least ${promptTokens}, ` +
          `${used.completion_tokens} written, ${used.estimated_tokens} of them estimated, $${used.cost_usd.toFixed(4)}`,
      );
    }
  });
} finally {
  await endless.model.close();
}
