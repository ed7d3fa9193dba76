/** Environment with which a process that a test starts uses the run's compiled modules: it starts in half the time. */
export const compiledModules: Readonly<Record<string, string>> =
  process.env.NODE_COMPILE_CACHE === undefined ? {} : { NODE_COMPILE_CACHE: process.env.NODE_COMPILE_CACHE };
