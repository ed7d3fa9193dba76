/** Preloaded into processes of a test: SIGUSR2 blocks the event loop for BLOCK_MS. */
process.on("SIGUSR2", () => {
  const until = Date.now() + Number(process.env.BLOCK_MS);
  while (Date.now() < until);
});
