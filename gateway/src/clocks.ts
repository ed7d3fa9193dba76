/**
 * Milliseconds by which the clocks of each part's instances are ahead of this process's, by part and `host:port`.
 */
export type PartClocks = Readonly<Record<string, ReadonlyMap<string, number>>>;

/** A part whose clocks differ from those of the rest. */
export interface WrongClock {
  readonly part: string;
  /** Milliseconds by which the worst of its clocks is ahead of the rest. */
  readonly aheadMs: number;
  /** Whether this holds for all its instances. */
  readonly isWhole: boolean;
}

/** Beyond this difference, in milliseconds, parts refuse one another's tokens. */
const toleratedMs = 330_000;

function median(numbers: readonly number[]): number {
  const sorted = numbers.toSorted((a, b) => a - b);
  return sorted[Math.floor((sorted.length - 1) / 2)] ?? 0;
}

/**
 * The parts whose clocks the mesh does not tolerate, this gateway among them. The right time is the median of all
 * clocks: of two that differ, either may be wrong.
 */
export function wrongClocks(clocks: PartClocks): WrongClock[] {
  const all = { ...Object.fromEntries(Object.entries(clocks).map(([part, own]) => [part, [...own.values()]])), gateway: [0] };
  const right = median(Object.values(all).flat());
  return Object.entries(all).flatMap(([part, own]) => {
    const off = own.map((aheadMs) => aheadMs - right).filter((aheadMs) => Math.abs(aheadMs) > toleratedMs);
    if (off.length === 0) return [];
    const aheadMs = off.reduce((worst, one) => (Math.abs(one) > Math.abs(worst) ? one : worst));
    return [{ part, aheadMs, isWhole: off.length === own.length }];
  });
}

/** The difference in words: `its clock is 60 min behind those of the other parts`. */
export function clockWords({ aheadMs }: WrongClock): string {
  const minutes = Math.round(Math.abs(aheadMs) / 60_000);
  return `its clock is ${minutes} min ${aheadMs > 0 ? "ahead of" : "behind"} those of the other parts`;
}
