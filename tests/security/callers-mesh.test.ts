import { testRedis } from "@turnwright/testing/redis";
import { describe } from "vitest";
import { testCallers } from "./callers-suite.ts";

const redisUrl = await testRedis("revocation, shared limits, spend ceilings and the identity of runs in the mesh");

describe.skipIf(redisUrl === undefined)("two conversation services, orchestrators and gateways", () =>
  testCallers("mesh", redisUrl),
);
