import { isPending } from "../../api/pending-keys.ts";
import { randomId } from "../../api/random-id.ts";

/** A message on its way, kept until the server has answered: a reload sends it again under the same key. */
export interface PendingSend {
  /** The purpose of its idempotency key. */
  readonly purpose: string;
  /** Empty: a new conversation. */
  readonly conversationId: string;
  readonly body: { readonly message: string; readonly agent_type?: string; readonly model?: string };
}

const place = "tw-send";

/** Keeps a message before it is sent. */
export function keepSend(send: Omit<PendingSend, "purpose">): PendingSend {
  const kept = { ...send, purpose: `send:${randomId()}` };
  try {
    sessionStorage.setItem(place, JSON.stringify(kept));
  } catch {
    // Without storage a reload forgets the message, as it forgets the text.
  }
  return kept;
}

/** The message that a reload interrupted, if its answer is still open. */
export function interruptedSend(): PendingSend | undefined {
  try {
    const kept = JSON.parse(sessionStorage.getItem(place) ?? "null") as PendingSend | null;
    return kept !== null && isPending(kept.purpose) ? kept : undefined;
  } catch {
    return undefined;
  }
}

/** Forgets a message that was answered, well or not. */
export function forgetSend(): void {
  try {
    sessionStorage.removeItem(place);
  } catch {
    // Nothing was kept.
  }
}

/** The text that was typed and not sent, for each conversation. */
export const drafts = {
  get(conversationId: string): string {
    try {
      return sessionStorage.getItem(`tw-draft:${conversationId}`) ?? "";
    } catch {
      return "";
    }
  },
  set(conversationId: string, text: string): void {
    try {
      if (text === "") sessionStorage.removeItem(`tw-draft:${conversationId}`);
      else sessionStorage.setItem(`tw-draft:${conversationId}`, text);
    } catch {
      // The text lives as long as the page.
    }
  },
};
