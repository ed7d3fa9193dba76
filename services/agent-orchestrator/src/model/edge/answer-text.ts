type Fields = Readonly<Record<string, unknown>>;

/** Whether a value is a JSON object. */
export function isFields(value: unknown): value is Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** The texts of an answer or of a piece of one; empty where there is none. */
export interface AnswerTexts {
  readonly text: string;
  readonly reasoning: string;
  readonly refusal: string;
}

const noTexts: AnswerTexts = { text: "", reasoning: "", refusal: "" };
/** Parts inside parts are read so far. */
const maxDepth = 4;
const thinkingTypes = new Set(["thinking", "reasoning", "reasoning_content", "reasoning.text", "reasoning.summary"]);
const textFields = ["text", "content", "summary", "thinking", "reasoning"];

/** The text of a value in one of the forms of parts: text, a part, or a list of them. */
function plainText(value: unknown, depth = 0): string {
  if (typeof value === "string") return value;
  if (depth > maxDepth) return "";
  if (Array.isArray(value)) return value.map((item) => plainText(item, depth + 1)).join("");
  if (!isFields(value)) return "";
  for (const field of textFields) {
    const text = plainText(value[field], depth + 1);
    if (text !== "") return text;
  }
  return "";
}

/** Whether a part is text, as it is to OpenAI's format. */
function isTextPart(part: unknown): boolean {
  if (typeof part === "string") return true;
  return isFields(part) && typeof part.text === "string" && (part.type === undefined || String(part.type).endsWith("text"));
}

/** The texts of a message's or a delta's content: text, a part, or a list of typed parts. */
function contentTexts(content: unknown): AnswerTexts {
  if (typeof content === "string") return { text: content, reasoning: "", refusal: "" };
  let text = "";
  let reasoning = "";
  let refusal = "";
  for (const part of Array.isArray(content) ? content : [content]) {
    if (isFields(part) && thinkingTypes.has(String(part.type))) reasoning += plainText(part);
    else if (isTextPart(part)) text += plainText(part);
    else if (isFields(part) && typeof part.refusal === "string") refusal += part.refusal;
  }
  return { text, reasoning, refusal };
}

/** Parts of a content that no text holds, such as images and references. */
export function otherParts(content: unknown): unknown[] {
  if (!Array.isArray(content)) return [];
  return content.filter(
    (part) => isFields(part) && !thinkingTypes.has(String(part.type)) && !isTextPart(part) && typeof part.refusal !== "string",
  );
}

/**
 * Fields in which endpoints send reasoning. Some send the same text in several of them: the first that has one counts.
 */
const reasoningFields = ["reasoning_content", "reasoning", "thinking", "reasoning_details", "thinking_blocks"];

/** Reads the texts of a message or of a delta. */
export function answerTexts(message: Fields): AnswerTexts {
  const { content, refusal: refused } = message;
  const texts = content === null || content === undefined ? noTexts : contentTexts(content);
  const refusal = typeof refused === "string" ? refused : texts.refusal;
  for (const field of reasoningFields) {
    const value = message[field];
    const reasoning = value === null || value === undefined ? "" : plainText(value);
    if (reasoning !== "") return { text: texts.text, reasoning, refusal };
  }
  return { text: texts.text, reasoning: texts.reasoning, refusal };
}
