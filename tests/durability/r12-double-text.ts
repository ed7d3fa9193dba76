/** Row R12: concurrent messages to one conversation, per policy, over two gateways: `npm run durability -- r12`. */
import { setTimeout as delay } from "node:timers/promises";
import { parseArgs } from "node:util";
import { openTestPool } from "@turnwright/testing/database";
import { restApi } from "../e2e/api.ts";
import { report } from "../security/long/stage.ts";
import { startBurstModel } from "./burst-model.ts";
import { bursts, type Policy } from "./double-text.ts";
import { onStores } from "./on-stores.ts";
import { startReplicatedMesh } from "./replicated-mesh.ts";

const { values } = parseArgs({
  options: {
    messages: { type: "string", default: "50" },
    conversations: { type: "string", default: "4" },
    rounds: { type: "string", default: "3" },
  },
});
const [messages, conversations, rounds] = [values.messages, values.conversations, values.rounds].map(Number) as [
  number,
  number,
  number,
];
await onStores("double-text", async (stores) => {
  const model = await startBurstModel();
  const db = openTestPool(stores.databaseUrl, 4);
  const mesh = await startReplicatedMesh({
    ...stores,
    limit: "10s",
    model,
  });
  try {
    const api = restApi(mesh.gateways[0] ?? "");
    await api.register("texts@example.com", "correct-horse-battery");
    const { accessToken: token } = await api.login("texts@example.com", "correct-horse-battery");
    const stage = { gateways: mesh.gateways, token, model, db };
    const orchestrators = mesh.replicas.filter(({ name }) => name.startsWith("agent-orchestrator"));
    // One after another, while every conversation has an open question.
    const kill = async () => {
      const names = Array.from({ length: conversations }, (_, index) => `enqueue-kill-1-${index}`);
      const releases = names.map((name) => model.hold(name));
      // Questions that were being answered when the holds began have ended by then.
      do await delay(500);
      while (!names.every((name) => model.isOpen(name)));
      for (const orchestrator of orchestrators) {
        await orchestrator.kill();
        await orchestrator.start();
      }
      for (const release of releases) release();
    };
    const play = async (title: string, policy: Policy, midway?: () => Promise<void>) => {
      for (let round = 1; round <= (midway === undefined ? rounds : 1); round += 1) {
        const begun = performance.now();
        const name = `${policy}-${midway === undefined ? "" : "kill-"}${round}`;
        const { sent, answered, rejected, cancelled, takenOver, faults } = await bursts(stage, {
          name,
          policy,
          conversations,
          messages,
          midway,
        });
        const seconds = ((performance.now() - begun) / 1_000).toFixed(1);
        const said = `${answered} answered, ${rejected} refused, ${cancelled} cancelled, ${takenOver} taken over`;
        if (midway !== undefined && takenOver === 0) faults.push("the kill hit no run");
        report(
          "R12",
          faults.length === 0,
          `${title}, ${conversations} × ${messages} messages, ${seconds} s: ${sent} sent, ${said}; ${faults.length} faults`,
        );
        for (const fault of faults.slice(0, 10)) console.log(`      ${fault}`);
      }
    };
    await play("enqueue", "enqueue");
    await play("reject", "reject");
    await play("interrupt", "interrupt");
    await play("enqueue, kill -9 of each orchestrator", "enqueue", kill);
  } finally {
    await mesh.stop();
    await db.end();
  }
});
