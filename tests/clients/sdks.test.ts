import OpenAI from "openai";
import { zodResponseFormat } from "openai/helpers/zod";
import OpenAI6 from "openai-6";
import { zodResponseFormat as zodResponseFormat6 } from "openai-6/helpers/zod";
import { afterAll, beforeAll, expect, test } from "vitest";
import { describeAiSdk } from "./ai-sdk.ts";
import { describeLangChain } from "./langchain.ts";
import { describeOpenAiNode, type OpenAiNode } from "./openai-node.ts";
import { describePlainLoop } from "./plain-loop.ts";
import { describePython } from "./python.ts";
import { describeOpenAiErrors, describeOtherErrors } from "./sdk-errors.ts";
import { type ClientStage, startClientStage } from "./stage.ts";

let stage: ClientStage;
beforeAll(async () => {
  stage = await startClientStage();
}, 60_000);
afterAll(() => stage?.stop());

const seven: OpenAiNode = { OpenAI, zodResponseFormat };
/** Its calls are those of release 7; its types are other ones. */
const six = { OpenAI: OpenAI6, zodResponseFormat: zodResponseFormat6 } as unknown as OpenAiNode;

describeOpenAiNode("openai-node 7", seven, () => stage);
describeOpenAiNode("openai-node 6", six, () => stage);
describeLangChain("LangChain", () => stage);
describeAiSdk("the AI SDK", () => stage);
for (const [name, release] of [
  ["openai-node 7", seven],
  ["openai-node 6", six],
] as const) {
  describePlainLoop(name, release, () => stage);
  describeOpenAiErrors(name, release, () => stage);
}
describeOtherErrors(() => stage);
describePython("Python", () => stage);

test("the endpoint got no request that OpenAI would refuse as malformed", () => {
  expect(stage.endpoint.requests.length).toBeGreaterThan(20);
  expect(stage.endpoint.faults).toEqual([]);
});
