import type { ServiceImpl } from "@connectrpc/connect";
import type { RunAdminService } from "@turnwright/contract/conversation/v1/run_admin_service";
import { decodeCursor, encodeCursor } from "@turnwright/platform/postgres/keyset-cursor";
import type pg from "pg";
import type { NameKeys } from "../key-names.ts";
import { listAllRuns } from "../store/all-runs.ts";
import { runFilter } from "./run-filter.ts";

/** Handlers of the runs of all accounts, which only admins may read. */
export function runAdminHandlers({ pool, nameKeys }: { pool: pg.Pool; nameKeys: NameKeys }): ServiceImpl<typeof RunAdminService> {
  return {
    async listAllRuns({ limit = 50, cursor, userId = "", ...asked }) {
      const { runs, next } = await listAllRuns(pool, { userId, filter: runFilter(asked), after: decodeCursor(cursor), limit });
      await nameKeys(runs.map(({ run }) => run));
      return { runs, nextCursor: next === undefined ? "" : encodeCursor(next) };
    },
  };
}
