/** A stream without a message, which ends or fails as `work` does. */
export async function* silentStream(work: () => unknown): AsyncGenerator<never> {
  await work();
  yield* [];
}
