/** Bytes of text that are taken for a token: fewer than they are in nearly all texts. */
const bytesPerToken = 3;
/** Bytes of encoded sound that are taken for a token. */
const soundBytesPerToken = 32;
/**
 * Tokens that a picture is taken for where its model's price does not say: more than most models make of the largest.
 */
export const defaultImageTokens = 4_096;

/** What a request gives a model to read, in tokens. */
export interface PromptSize {
  /** What it comes to, estimated. */
  readonly likely: number;
  /** What it cannot pass: no tokenizer makes more tokens than there are bytes. */
  readonly most: number;
  /** Bytes of its text. */
  readonly textBytes: number;
}

interface Part {
  readonly image_url?: { readonly url?: unknown } | string;
  readonly input_audio?: { readonly data?: unknown };
}

/** A request as far as its size depends on it. */
export interface SizedBody {
  readonly messages?: unknown;
}

function partsOf(messages: unknown): Part[] {
  if (!Array.isArray(messages)) return [];
  return messages.flatMap((message: { content?: unknown } | null) => (Array.isArray(message?.content) ? message.content : []));
}

function lengthOf(text: unknown): number {
  return typeof text === "string" ? text.length : 0;
}

/**
 * The size of a request of so many bytes. Pictures count by the piece and sound by its length; all the rest is text.
 */
export function promptSize(bytes: number, body: SizedBody, imageTokens = defaultImageTokens): PromptSize {
  let textBytes = bytes;
  let tokens = 0;
  for (const part of partsOf(body.messages)) {
    const { image_url: image, input_audio: sound } = part ?? {};
    if (image !== undefined) {
      const url = typeof image === "string" ? image : image?.url;
      if (typeof url === "string" && url.startsWith("data:")) textBytes -= url.length;
      tokens += imageTokens;
    }
    if (sound !== undefined) {
      const length = lengthOf(sound?.data);
      textBytes -= length;
      tokens += Math.ceil(length / soundBytesPerToken);
    }
  }
  textBytes = Math.max(0, textBytes);
  return { likely: Math.ceil(textBytes / bytesPerToken) + tokens, most: textBytes + tokens, textBytes };
}
