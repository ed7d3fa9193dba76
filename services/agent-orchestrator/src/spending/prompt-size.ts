/** Bytes of text that count as one token: fewer than one token has in nearly all texts. */
const bytesPerToken = 3;
/** Bytes of encoded audio that count as one token. */
const soundBytesPerToken = 32;
/** Tokens of an image when the model's price does not state them: more than most models make of the largest image. */
export const defaultImageTokens = 4_096;

/** The size of a request's prompt, in tokens. */
export interface PromptSize {
  /** The likely size, estimated. */
  readonly likely: number;
  /** The upper limit: no tokenizer makes more tokens than there are bytes. */
  readonly most: number;
  /** Bytes of its text. */
  readonly textBytes: number;
}

interface Part {
  readonly image_url?: { readonly url?: unknown } | string;
  readonly input_audio?: { readonly data?: unknown };
}

/** The fields of a request that its size depends on. */
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

/** The size of a request of this many bytes. Images count by number and audio by length; everything else is text. */
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
