/**
 * The schemas with a folder of migrations here, in the order in which they migrate up. The numbers are advisory lock
 * keys of our own, so that a wait never meets another user of node-pg-migrate in the same database; they never change,
 * because releases that run side by side must take the same lock.
 */
export const schemaLocks = {
  auth: 7_241_865_310_001,
  conversation: 7_241_865_310_002,
  tool: 7_241_865_310_003,
} as const;
