/** Preloaded into processes of a test: SIGUSR2 keeps the event loop busy for BLOCK_MS. */
process.on("SIGUSR2", () => {
  const until = Date.now() + Number(process.env.BLOCK_MS);
  while (Date.now() < until);
});
