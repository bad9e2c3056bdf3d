// Medians and spread: a mean hides what matters to whoever waits.
export type Spread = { count: number; median: number; p10: number; p90: number; least: number; most: number };

/** Quantiles between neighbours are taken in proportion. @throws on no values */
export function spreadOf(values: readonly number[]): Spread {
  if (values.length === 0) throw new Error("no values");
  const sorted = [...values].sort((one, other) => one - other);
  const at = (share: number): number => {
    const position = share * (sorted.length - 1);
    const below = sorted[Math.floor(position)] ?? 0;
    const above = sorted[Math.ceil(position)] ?? 0;
    return below + (above - below) * (position - Math.floor(position));
  };
  return { count: sorted.length, median: at(0.5), p10: at(0.1), p90: at(0.9), least: at(0), most: at(1) };
}
