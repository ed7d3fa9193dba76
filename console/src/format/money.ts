const numbers = new Intl.NumberFormat(undefined);
const compact = new Intl.NumberFormat(undefined, { notation: "compact", maximumFractionDigits: 1 });

/**
 * An amount with its currency, two to six digits behind the point: `US$0.0031`. Without a price it is `no price`: a run
 * that cost nothing and a run of which nobody knows the cost are not the same.
 */
export function moneyText(
  amount: number,
  { priced = true, currency = "USD" }: { priced?: boolean; currency?: string } = {},
): string {
  if (!priced) return "no price";
  const options = { style: "currency", currency, minimumFractionDigits: 2, maximumFractionDigits: 6 } as const;
  // Canadian English writes the country with the dollar of the others.
  return new Intl.NumberFormat("en-CA", options).format(amount);
}

/** An amount of which 0 means that the model has no price. */
export function costText(amount: number): string {
  return moneyText(amount, { priced: amount > 0 });
}

/** A number with its groups. */
export const numberText = (value: number) => numbers.format(value);
/** A number in short: `1.2M`. */
export const shortNumber = (value: number) => compact.format(value);

/** A number of bytes: `412 B`, `4.1 kB`, `2.0 MB`. */
export function bytesText(bytes: number): string {
  if (bytes < 1_000) return `${bytes} B`;
  if (bytes < 1_000_000) return `${(bytes / 1_000).toFixed(1)} kB`;
  return `${(bytes / 1_000_000).toFixed(1)} MB`;
}

/** A number with its noun: `1 call`, `3 calls`. */
export function countText(count: number, one: string, many = `${one}s`): string {
  return `${numberText(count)} ${count === 1 ? one : many}`;
}
