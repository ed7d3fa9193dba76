import { afterAll, beforeAll } from "vitest";
import { type ConversationFixture, type Person, startConversationFixture } from "./conversation.ts";

/** The service of the tests of a file. */
export let fixture: ConversationFixture;
/** A user of it. */
export let person: Person;

/** Starts the service for all tests of a file. */
export function useConversation(options?: Parameters<typeof startConversationFixture>[0]): void {
  beforeAll(async () => {
    fixture = await startConversationFixture(options);
    person = fixture.person();
  });
  afterAll(() => fixture.stop());
}
