import { testRedis } from "@turnwright/testing/redis";
import { describe } from "vitest";
import { testStarter } from "./starter-suite.ts";

const redisUrl = await testRedis("runs that change processes in the mesh keep the identity of their starter");

describe.skipIf(redisUrl === undefined)("a run acts as its starter, mesh", () => testStarter("mesh", redisUrl));
