import { randomId } from "./random-id.ts";

const prefix = "tw-key:";

/**
 * The idempotency key of a write, kept until it is answered: a reload between sending and answer repeats the request
 * under the same key, and it takes effect once. `purpose` names what the person does, such as `send:<draft>`.
 */
export function pendingKey(purpose: string): string {
  try {
    const known = sessionStorage.getItem(prefix + purpose);
    if (known !== null) return known;
    const key = randomId();
    sessionStorage.setItem(prefix + purpose, key);
    return key;
  } catch {
    return randomId();
  }
}

/** Whether a write for this purpose was sent and not answered, by this page or before its reload. */
export function isPending(purpose: string): boolean {
  try {
    return sessionStorage.getItem(prefix + purpose) !== null;
  } catch {
    return false;
  }
}

/** Forgets the key of a write that was answered. */
export function answered(purpose: string): void {
  try {
    sessionStorage.removeItem(prefix + purpose);
  } catch {
    // Storage may be forbidden: then nothing was kept.
  }
}
