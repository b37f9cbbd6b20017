/** The peak signal-to-noise ratio of images of 8 bits. */

const PEAK = 255;

/** The mean over all values of (a - b)^2, in squares of the 256 levels; as many values of each. */
export function meanSquaredError(a: Uint8Array, b: Uint8Array): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += (a[i] - b[i]) ** 2;
  return sum / a.length;
}

/** 10 log10(255^2 / error), in dB; infinite without an error. */
export const peakSignalToNoise = (error: number): number => 10 * Math.log10(PEAK ** 2 / error);
