import { testCallers } from "./callers-suite.ts";

testCallers("all-in-one");
