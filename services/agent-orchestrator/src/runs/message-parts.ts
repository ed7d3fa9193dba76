import type { MessagePart } from "@turnwright/contract/conversation/v1/conversation";
import { ErrorReason, fail } from "@turnwright/platform/errors";

/** The most bytes of texts and data URLs of a message's parts together. */
export const maxPartsBytes = 1_572_864;

/** Images that the common endpoints take. Addresses are not allowed: some endpoints would open files of their own. */
const imageStart = /^data:image\/(?:png|jpeg|webp|gif);base64,/;
/** Base64 without line ends. */
const base64 = /^[A-Za-z0-9+/]+={0,2}$/;

/** The fault of a part, with its field. Undefined: none. */
function faultOf({ type, text, imageUrl }: MessagePart): readonly [string, string] | undefined {
  if (type === "text") {
    if (text === "") return ["text", "required"];
    return imageUrl === "" ? undefined : ["image_url", "not allowed for a text"];
  }
  if (text !== "") return ["text", "not allowed for an image"];
  const [start] = imageStart.exec(imageUrl) ?? [];
  if (start === undefined) return ["image_url", "must be a data URL in base64 of a PNG, JPEG, WebP or GIF image"];
  const data = imageUrl.slice(start.length);
  return base64.test(data) && data.length % 4 === 0 ? undefined : ["image_url", "must have base64 data"];
}

/** Checks the parts of a user's message. Throws INVALID_REQUEST. */
export function checkParts(parts: readonly MessagePart[]): void {
  let bytes = 0;
  for (const [index, part] of parts.entries()) {
    const fault = faultOf(part);
    if (fault !== undefined) {
      const param = `parts[${index}].${fault[0]}`;
      throw fail(ErrorReason.INVALID_REQUEST, `${param}: ${fault[1]}`, { param });
    }
    bytes += Buffer.byteLength(part.text) + part.imageUrl.length;
  }
  if (bytes > maxPartsBytes) {
    const message = `parts: must have at most ${maxPartsBytes} bytes together, not ${bytes}`;
    throw fail(ErrorReason.INVALID_REQUEST, message, { param: "parts" });
  }
}

/** Whether parts have an image. */
export function hasImage(parts: readonly MessagePart[]): boolean {
  return parts.some(({ type }) => type === "image");
}
