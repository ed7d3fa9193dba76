import { expect, test, vi } from "vitest";
import { ErrorReason, fail } from "./errors.ts";
import { createLogger } from "./logger.ts";
import { untilDatabaseAnswers } from "./patience.ts";

const logger = createLogger({ service: "test", level: "silent" });
const away = () => fail(ErrorReason.DATABASE_UNAVAILABLE, "the database does not answer");

test("what the database did not answer is tried again, and gives what it gives then", async () => {
  const work = vi.fn().mockRejectedValueOnce(away()).mockRejectedValueOnce(away()).mockResolvedValue("answer");
  expect(await untilDatabaseAnswers(logger, work)).toBe("answer");
  expect(work).toHaveBeenCalledTimes(3);
});

test("anything else is thrown at once", async () => {
  const work = vi.fn().mockRejectedValue(fail(ErrorReason.INVALID_REQUEST, "no"));
  await expect(untilDatabaseAnswers(logger, work)).rejects.toThrow("no");
  expect(work).toHaveBeenCalledTimes(1);
});

test("when patience is over it is thrown", async () => {
  const work = vi.fn().mockRejectedValue(away());
  await expect(untilDatabaseAnswers(logger, work, 400)).rejects.toThrow("the database does not answer");
  expect(work).toHaveBeenCalledTimes(3);
});
