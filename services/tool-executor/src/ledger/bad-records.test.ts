import { randomUUID } from "node:crypto";
import { ExecutionStatus } from "@turnwright/contract/tool/v1/tool";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createExecutorFixture, type ExecutorFixture } from "../../testing/executor.ts";
import { gatedTool } from "../../testing/gated-tool.ts";

let fixture: ExecutorFixture;
/** PostgreSQL refuses every row with the word `poison`, as it refuses a NUL in a text. */
const refusing = `
  create function refuse_poison() returns trigger language plpgsql as $$ begin
    if new.input::text || coalesce(new.output::text, '') like '%poison%' then raise exception 'poison' using errcode = '22021'; end if;
    return new;
  end $$;
  create trigger refuse_poison before insert or update on tool_executions for each row execute function refuse_poison()`;
beforeAll(async () => {
  fixture = await createExecutorFixture();
  await fixture.pool.query(refusing);
});
afterAll(() => fixture.stop());

test("a call that cannot be recorded is refused alone; the others of its round run", async () => {
  const { tool, run } = gatedTool({ effect: "once" });
  const executor = await fixture.start({ tools: [tool] });
  const runId = randomUUID();
  const calls = ["a", "poison", "b"].map((what, index) => ({
    callId: `call_${index + 1}`,
    name: "gated",
    arguments: JSON.stringify({ what }),
  }));
  const asked = executor.executions.executeCalls({ runId, epoch: 1, calls });
  (await run(1)).end("one");
  (await run(2)).end("three");
  expect((await asked).results).toMatchObject([
    { callId: "call_1", status: ExecutionStatus.SUCCESS },
    { callId: "call_2", status: ExecutionStatus.REFUSED, error: "The call cannot be recorded." },
    { callId: "call_3", status: ExecutionStatus.SUCCESS },
  ]);
});

test("a call whose result cannot be stored ends without it, and is not run again", async () => {
  const { tool, run, runs } = gatedTool();
  const executor = await fixture.start({ tools: [tool] });
  const runId = randomUUID();
  const call = { runId, name: "gated", args: { what: "a" } };
  const asked = executor.execute(call);
  (await run(1)).end("poison");
  const expected = { status: ExecutionStatus.FAILED, error: "The call has ended, but its result cannot be stored." };
  expect(await asked).toMatchObject(expected);
  expect(await executor.execute(call)).toMatchObject(expected);
  expect(runs).toHaveLength(1);
});
