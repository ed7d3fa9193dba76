import type { ConnectError } from "@connectrpc/connect";
import type { StreamTurnResponse } from "@turnwright/contract/agent/v1/agent_service";
import { detailOf, reasonOf } from "@turnwright/platform/errors";
import type { ScriptedReply } from "@turnwright/testing/scripted-model";
import { afterEach, beforeEach, expect, vi } from "vitest";
import { asUser, type OrchestratorFixture, startOrchestrator } from "./orchestrator.ts";

/** The orchestrator of the current test. */
export let mesh: OrchestratorFixture;

/** Gives each test of a file an orchestrator of its own. */
export function useOrchestrator(env: Record<string, string> = {}): void {
  beforeEach(async () => {
    mesh = await startOrchestrator({ AGENT_MAX_ITERATIONS: "3", ...env });
  });

  afterEach(async () => {
    vi.useRealTimers();
    await mesh.close();
  });
}

export const create = (message = "hi", rest: object = {}) => mesh.agent.createConversation({ message, ...rest }, asUser);
export const approve = (approved: boolean, reason = "") =>
  mesh.agent.approveConversation({ conversationId: mesh.journal.conversation.id, approved, reason }, asUser);

export async function streamEvents(message = "hi"): Promise<StreamTurnResponse[]> {
  const events: StreamTurnResponse[] = [];
  for await (const event of mesh.agent.streamTurn({ message }, asUser)) events.push(event);
  return events;
}

export async function failureOf(work: Promise<unknown>) {
  const error = await work.then(
    () => expect.fail("it succeeded"),
    (caught: ConnectError) => caught,
  );
  return { reason: reasonOf(error), param: detailOf(error)?.param, message: error.rawMessage };
}

export const sent = (index: number) =>
  mesh.model.requests[index]?.body as {
    model: string;
    messages: { role: string; content: string | null; [field: string]: unknown }[];
    tools?: { function: { name: string } }[];
    [field: string]: unknown;
  };
export const callsFor = (...names: string[]): ScriptedReply => ({
  calls: names.map((name, index) => ({ id: `call_${name}_${index}`, name, arguments: `{"at":${index}}` })),
});
export const roles = () => mesh.journal.messages.map(({ role, name }) => (name === "" ? role : `${role} ${name}`));
export const lastCommit = () => mesh.journal.commits.at(-1);
