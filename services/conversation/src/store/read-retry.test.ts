import { RunStatus } from "@turnwright/contract/conversation/v1/run";
import { uuidv7 } from "@turnwright/platform/uuid";
import { expect, test } from "vitest";
import { ErrorReason, reasonFor } from "../../testing/conversation.ts";
import { fixture, person, useConversation } from "../../testing/use-conversation.ts";

useConversation({ max: 3 });

const retryOf = (runId = "", retryId: string = uuidv7()) => person.journal.readRetry({ runId, retryId });
const refusalOf = (runId = "") => reasonFor(retryOf(runId));

test("a failed run is retried with the message that began it, its agent, model and deadline", async () => {
  const first = await person.begin({ message: "First" });
  await person.answer(first);
  const conversationId = first.conversation?.id ?? "";
  const second = await person.begin({ conversationId, message: "Second", deadlineSeconds: 77 });
  await person.commit(second, {
    status: RunStatus.RUNNING,
    agent: "research",
    model: "large",
    messages: [{ id: uuidv7(), role: "assistant", content: "Wait" }],
  });
  expect(await refusalOf(second.run?.id)).toBe(ErrorReason.RUN_NOT_RETRYABLE);
  await person.commit(second, { status: RunStatus.FAILED, error: "It broke.", agent: "research", model: "large" });
  const expected = { conversationId, message: "Second", agentType: "research", model: "large", deadlineSeconds: 77 };
  expect(await retryOf(second.run?.id)).toMatchObject(expected);
  expect(await refusalOf(first.run?.id)).toBe(ErrorReason.RUN_NOT_RETRYABLE);
  const other = fixture.person();
  const asked = { runId: second.run?.id, retryId: uuidv7() };
  expect(await reasonFor(other.journal.readRetry(asked))).toBe(ErrorReason.NOT_FOUND);
  // A later run closes the way, unless it is the retry itself.
  const later = await person.begin({ conversationId, message: "Second" });
  expect(await refusalOf(second.run?.id)).toBe(ErrorReason.RUN_NOT_RETRYABLE);
  expect(await retryOf(second.run?.id, later.run?.id)).toMatchObject(expected);
  await person.conversations.deleteConversation({ conversationId });
  expect(await refusalOf(second.run?.id)).toBe(ErrorReason.NOT_FOUND);
});

test("a run that was cancelled in the queue has its message, whether it was to begin its conversation or to follow", async () => {
  const alone = uuidv7();
  await person.journal.beginRun({ runId: alone, message: "Alone", background: true });
  await person.journal.cancelRun({ runId: alone });
  expect(await retryOf(alone)).toMatchObject({ message: "Alone", agentType: "", model: "" });
  const { conversation } = await person.begin({ message: "Before" });
  const behind = uuidv7();
  await person.journal.beginRun({ runId: behind, conversationId: conversation?.id, message: "Behind", background: true });
  await person.journal.cancelRun({ runId: behind });
  expect(await retryOf(behind)).toMatchObject({ message: "Behind", conversationId: conversation?.id });
});

test("a run that was taken from the queue has the message with which it began; one in review is refused", async () => {
  const first = await person.begin({ message: "Before" });
  const conversationId = first.conversation?.id;
  const runId = uuidv7();
  await person.journal.beginRun({ runId, conversationId, message: "Taken", background: true });
  await person.answer(first);
  const { context } = await person.journal.claimRun({ runId, workerId: uuidv7(), graphVersion: 1 });
  const events = [{ type: "needs_review", payload: "{}" }];
  await person.journal.commitRun({ runId, epoch: context?.run?.epoch, status: RunStatus.NEEDS_REVIEW, events });
  expect(await refusalOf(runId)).toBe(ErrorReason.PENDING_REVIEW);
  await person.journal.cancelRun({ runId });
  expect(await retryOf(runId)).toMatchObject({ message: "Taken" });
});
