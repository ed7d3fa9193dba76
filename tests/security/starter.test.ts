import { describe } from "vitest";
import { testStarter } from "./starter-suite.ts";

describe("a run acts as its starter, all-in-one", () => testStarter("all-in-one"));
