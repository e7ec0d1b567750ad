// Arithmetic that gives the same digits everywhere: sums are compensated and results are cut to 12
// significant digits.

/**
 * Rounds to 12 significant digits, far inside what a double holds, so that no last-digit noise is
 * printed.
 */
export const tidy = (number) => Number(number.toPrecision(12));

/** Neumaier's compensated sum. */
export function sum(numbers) {
  let total = 0;
  let lost = 0;
  for (const number of numbers) {
    const next = total + number;
    lost += Math.abs(total) >= Math.abs(number) ? total - next + number : number - next + total;
    total = next;
  }
  return total + lost;
}

/**
 * The quantile `q` of sorted numbers, linear between neighbours (type 7 of Hyndman and Fan, as R
 * and NumPy default to).
 */
export function quantile(sorted, q) {
  const position = (sorted.length - 1) * q;
  const below = Math.floor(position);
  const above = Math.min(below + 1, sorted.length - 1);
  return sorted[below] + (sorted[above] - sorted[below]) * (position - below);
}

/**
 * Mean, sample standard deviation, extremes, quantiles and a ten-bin histogram of at least one
 * number.
 */
export function describe(numbers) {
  const sorted = Float64Array.from(numbers).sort();
  const mean = sum(sorted) / sorted.length;
  const squares = sum(sorted.map((number) => (number - mean) ** 2));
  const at = (q) => tidy(quantile(sorted, q));
  return {
    min: sorted[0],
    max: sorted[sorted.length - 1],
    mean: tidy(mean),
    standard_deviation: sorted.length > 1 ? tidy(Math.sqrt(squares / (sorted.length - 1))) : null,
    quantiles: { p05: at(0.05), p25: at(0.25), p50: at(0.5), p75: at(0.75), p95: at(0.95) },
    histogram: histogram(sorted),
    outliers: outliers(sorted),
  };
}

function histogram(sorted) {
  const [low, high] = [sorted[0], sorted[sorted.length - 1]];
  const counts = new Array(high > low ? 10 : 1).fill(0);
  const width = (high - low) / counts.length;
  for (const number of sorted) counts[width > 0 ? Math.min(Math.floor((number - low) / width),
    counts.length - 1) : 0] += 1;
  return { from: low, to: high, counts };
}

/** How many numbers lie beyond 1.5 interquartile ranges of the quartiles (Tukey's fences). */
function outliers(sorted) {
  const [low, high] = [quantile(sorted, 0.25), quantile(sorted, 0.75)];
  const reach = 1.5 * (high - low);
  return sorted.filter((number) => number < low - reach || number > high + reach).length;
}
