import type { Message } from "@turnwright/contract/conversation/v1/conversation";

/** The most bytes of messages in one response: a mesh message may have 8 MiB. */
const maxResponseBytes = 6 * 1024 * 1024;

/** Bytes of a message, about. */
function sizeOf({ content, reasoning, providerFields, toolCalls }: Message): number {
  const texts = [content, reasoning, providerFields, ...toolCalls.map((call) => call.function?.arguments ?? "")];
  return texts.reduce((bytes, text) => bytes + Buffer.byteLength(text), 0);
}

/** The first of some items whose messages fit in one response; one at least, whatever its size. */
export function fitting<T>(items: readonly T[], messagesOf: (item: T) => readonly Message[]): T[] {
  let bytes = 0;
  const end = items.findIndex((item, index) => {
    bytes += messagesOf(item).reduce((sum, message) => sum + sizeOf(message), 0);
    return index > 0 && bytes > maxResponseBytes;
  });
  return end === -1 ? [...items] : items.slice(0, end);
}
