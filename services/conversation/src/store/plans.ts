import type { ServiceDatabase } from "@turnwright/platform/postgres/service-database";

/**
 * Makes each new connection plan by index. The journal's statements are prepared, and PostgreSQL keeps the plan of a prepared
 * statement: one made while a table was small would read all of it when it is large. All of them find their rows by a key, so a
 * sequential scan is never what they want, nor is a join that reads a table or an index from end to end, nor compiling them.
 */
export function pinIndexPlans(database: Pick<ServiceDatabase, "onConnect">): void {
  database.onConnect(
    "set enable_seqscan = off; set enable_hashjoin = off; set enable_mergejoin = off; set enable_material = off; set jit = off",
  );
}
