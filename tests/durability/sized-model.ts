import {
  type ScriptedModel,
  type ScriptedReply,
  type ScriptedRequest,
  startScriptedModel,
} from "@turnwright/testing/scripted-model";

/** Text of so many characters, in pieces of 64 KiB. */
const textOf = (characters: number) => `${"x".repeat(65_535)} `.repeat(Math.ceil(characters / 65_536)).slice(0, characters);

/** Does what the user's last message says: `answer 5`, `control 5`, `read 3 of 1900000`, or `hang`. */
function obey({ body }: ScriptedRequest): ScriptedReply {
  const said = String(body.messages.findLast(({ role }) => role === "user")?.content ?? "");
  if (said === "hang") return { beforeHeaders: new Promise(() => {}) };
  const [, verb, first = "1", second = "1"] = /^(answer|control|read) (\d+)(?: of (\d+))?/.exec(said) ?? [];
  if (verb === "answer") return { text: textOf(Number(first)) };
  if (verb === "control") return { text: "\u0001".repeat(Number(first)) };
  if (verb !== "read" || body.messages.at(-1)?.role === "tool") return { text: "Done." };
  const calls = Array.from({ length: Number(first) }, (_, at) => ({
    name: "read_file",
    arguments: `{"bytes":${second}}`,
    id: `c${at}`,
  }));
  return { calls };
}

/** Starts a model that answers, and calls tools, in the sizes that the user names. */
export const startSizedModel = (): Promise<ScriptedModel> => startScriptedModel({ answer: obey });
