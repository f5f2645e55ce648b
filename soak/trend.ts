/**
 * Whether something grows. Pure. The first half of a series is warm-up: caches fill, code is compiled. In the second half
 * a straight line is laid through the values; what it gains from the first to the last of them is the growth. A leak
 * grows more than is allowed, and more than the scatter around the line could feign.
 */

export interface Allowance {
  /** Share of the mean. */
  readonly share: number;
  /** In units of the series: growth up to this is never a leak. */
  readonly floor: number;
}

export interface Trend {
  readonly mean: number;
  /** What the line gains over the second half. */
  readonly growth: number;
  /** What chance alone may gain: three standard errors. */
  readonly noise: number;
  readonly isLeak: boolean;
}

/** Standard errors. */
const SURE = 3;

export function trendOf(series: readonly number[], { share, floor }: Allowance): Trend {
  const values = series.slice(Math.floor(series.length / 2));
  const n = values.length;
  const mean = values.reduce((sum, y) => sum + y, 0) / n;
  const middle = (n - 1) / 2;
  const spread = values.reduce((sum, _, x) => sum + (x - middle) ** 2, 0);
  const slope = values.reduce((sum, y, x) => sum + (x - middle) * (y - mean), 0) / (spread || 1);
  const residue = values.reduce((sum, y, x) => sum + (y - mean - slope * (x - middle)) ** 2, 0);
  const error = n > 2 ? Math.sqrt(residue / (n - 2) / spread) : 0;
  const growth = slope * (n - 1);
  const noise = SURE * error * (n - 1);
  return { mean, growth, noise, isLeak: growth > Math.max(floor, share * mean, noise) };
}
