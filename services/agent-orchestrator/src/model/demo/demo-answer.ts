import { ErrorReason, fail } from "@turnwright/platform/errors";
import { instanceOf, type JsonSchema } from "./schema-instance.ts";

/** The fields of a request that the demo model reads. */
export interface DemoRequest {
  messages: { role: string; content?: unknown; name?: string }[];
  tools?: { function?: { name: string; parameters?: JsonSchema } }[] | null;
  tool_choice?: unknown;
  response_format?: { type?: unknown; json_schema?: { schema?: unknown } } | null;
}

/** The demo model's answer: a text, or tool calls. */
export type DemoAnswer = { text: string } | { calls: { name: string; args: unknown }[] };

const sendRequest = /send an? http request to (\S+)(?: saying (.+))?/is;

function textOf(content: unknown): string {
  if (typeof content === "string") return content;
  if (!Array.isArray(content)) return "";
  return content.map((part) => (typeof part?.text === "string" ? part.text : "")).join(" ");
}

const arithmeticRun = /[\d\s().+\-*/×÷]{3,}/g;
const operatorBetweenDigits = /\d[\s)]*[+\-*/×÷][\s(+-]*\d/;

/** Removes parentheses at the ends that belong to the sentence and not to the calculation. */
function balanced(text: string): string {
  let depth = 0;
  let end = text.length;
  for (let at = 0; at < text.length; at++) {
    if (text[at] === "(") depth++;
    else if (text[at] === ")" && --depth < 0) {
      end = at;
      break;
    }
  }
  const head = text.slice(0, end).trim();
  return depth > 0 && head.startsWith("(") ? balanced(head.slice(1)) : head;
}

/** The first calculation in the text, in the calculator's syntax. */
function expressionIn(words: string): string | undefined {
  for (const [run] of words.matchAll(arithmeticRun)) {
    const from = run.search(/(?<!\S)[-(]*\d|\(|\d/);
    const expression = balanced(run.slice(from).replace(/[^\d)]+$/, ""));
    if (operatorBetweenDigits.test(expression)) return expression.replaceAll("×", "*").replaceAll("÷", "/");
  }
  return undefined;
}

/** Makes arguments that fit a schema out of the user's words. */
function inventArguments(schema: JsonSchema | undefined, words: string): unknown {
  const made = instanceOf(schema ?? { type: "object" }, words);
  return typeof made === "object" && made !== null ? made : {};
}

/** Puts an answer into the form that a request demands. Throws MODEL_REJECTED for a schema without a known instance. */
function shaped({ response_format: format }: DemoRequest, text: string, words: string): DemoAnswer {
  switch (format?.type) {
    case "json_object":
      return { text: JSON.stringify({ answer: text }) };
    case "json_schema": {
      const made = instanceOf(format.json_schema?.schema ?? { type: "object" }, words);
      if (made !== undefined) return { text: JSON.stringify(made) };
      throw fail(ErrorReason.MODEL_REJECTED, "response_format: the demo model finds no value that this schema allows", {
        param: "response_format",
      });
    }
    default:
      return { text };
  }
}

/** The name of the tool that a request forces, if any. */
function forcedTool(request: DemoRequest, names: readonly string[]): string | undefined {
  const { tool_choice: choice } = request;
  if (choice === "required") return names[0];
  const name = (choice as { function?: { name?: unknown } } | undefined)?.function?.name;
  return typeof name === "string" ? name : undefined;
}

function reportResults(results: { name?: string; content?: unknown }[], question: string): string {
  const texts = results.map(({ content }) => {
    const text = textOf(content);
    try {
      const value = JSON.parse(text) as Record<string, unknown>;
      if (value !== null && typeof value === "object") {
        if ("expression" in value && "result" in value) return `${value.expression} = ${value.result}`;
        if ("error" in value) return `that did not work: ${value.error}`;
      }
    } catch {
      // Not JSON: reported as it is.
    }
    return text.length > 500 ? `${text.slice(0, 500)}…` : text;
  });
  return `Here is what I found for "${question.slice(0, 80)}": ${texts.join("; ")}.`;
}

/**
 * Answers deterministically. Tool results are reported; a forced tool is called; arithmetic goes to the calculator and
 * "Send an HTTP request to URL saying TEXT" to http_request; a client's tool is called when the user names it;
 * everything else gets a friendly text. Answers without calls obey `response_format`.
 */
export function answerDemo(request: DemoRequest): DemoAnswer {
  const lastUser = request.messages.findLastIndex((message) => message.role === "user");
  const words = textOf(request.messages[lastUser]?.content).trim();
  const results = request.messages.slice(lastUser + 1).filter((message) => message.role === "tool");
  if (results.length > 0) return shaped(request, reportResults(results, words), words);

  const tools =
    request.tool_choice === "none" ? [] : (request.tools ?? []).flatMap((tool) => (tool.function ? [tool.function] : []));
  const names = tools.map((tool) => tool.name);
  const call = (name: string, args: unknown): DemoAnswer => ({ calls: [{ name, args }] });
  const argumentsFor = (name: string) => inventArguments(tools.find((tool) => tool.name === name)?.parameters, words);

  const expression = expressionIn(words.slice(0, 10_000));
  const forced = forcedTool(request, names);
  if (forced !== undefined && names.includes(forced)) {
    return call(forced, forced === "calculator" && expression ? { expression } : argumentsFor(forced));
  }
  const send = sendRequest.exec(words);
  if (send !== null && names.includes("http_request")) {
    return call("http_request", { method: "POST", url: send[1], body: send[2]?.trim() ?? "" });
  }
  if (expression !== undefined && names.includes("calculator")) return call("calculator", { expression });
  const named = names.find((name) => words.toLowerCase().includes(name.toLowerCase()));
  if (named !== undefined) return call(named, argumentsFor(named));
  const text =
    `You said: "${words.slice(0, 200)}". I am Turnwright's built-in demo model: I stream, call tools and wait for ` +
    `approvals, but I know nothing. ` +
    "Ask me for a calculation, or set OPENAI_API_KEY or LLM_BASE_URL to talk to a real model.";
  return shaped(request, text, words);
}
