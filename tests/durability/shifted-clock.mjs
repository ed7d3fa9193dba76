/**
 * Preloaded into a process of a test: its clock is CLOCK_SHIFT_MS ahead. Timers and `performance.now()` stay as they
 * are.
 */
const shiftMs = Number(process.env.CLOCK_SHIFT_MS);
const RealDate = Date;
const now = RealDate.now.bind(RealDate);
RealDate.now = () => now() + shiftMs;
globalThis.Date = new Proxy(RealDate, {
  construct: (target, args, newTarget) => Reflect.construct(target, args.length === 0 ? [RealDate.now()] : args, newTarget),
  apply: () => new RealDate(RealDate.now()).toString(),
});
