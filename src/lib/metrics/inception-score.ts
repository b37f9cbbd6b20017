/** The Inception Score (arXiv 1606.03498) of class probabilities. */
import { DataError } from '../errors.js';

export interface InceptionScore {
  /** Mean over the splits. */
  mean: number;
  /** Standard deviation over the splits (divided by their number); 0 with one split. */
  deviation: number;
  splits: number;
}

/**
 * Mean over splits of exp(E KL(p(y|x) || p(y))), updated as logits come. Only the sums of p and of p log p of a split
 * are kept: the mean divergence is the mean of sum_y p log p, less the same of the marginal.
 */
export class InceptionScoreEstimate {
  readonly #classes: number;
  readonly #splitSize: number;
  readonly #scores: number[] = [];
  readonly #sums: Float64Array; // [classes]
  #negativeEntropies = 0;
  #rows = 0;

  /** @param splitSize samples of a split, in order; the ADM suite takes 5000, and a shorter split at the end */
  constructor(classes: number, splitSize = 5000) {
    this.#classes = classes;
    this.#splitSize = splitSize;
    this.#sums = new Float64Array(classes);
  }

  /** @param logits before the softmax, [N, classes]; the ADM suite's are without the last layer's bias */
  add(logits: Float32Array): void {
    for (let start = 0; start < logits.length; start += this.#classes) {
      this.#addRow(logits.subarray(start, start + this.#classes));
      if (this.#rows === this.#splitSize) this.#endSplit();
    }
  }

  /** The score of all samples; none can be added after. @throws DataError when there were none */
  result(): InceptionScore {
    if (this.#rows > 0) this.#endSplit();
    const scores = this.#scores;
    if (scores.length === 0) throw new DataError('there are no samples to score');
    const mean = average(scores);
    return { mean, deviation: Math.sqrt(average(scores.map((score) => (score - mean) ** 2))), splits: scores.length };
  }

  #addRow(logits: Float32Array): void {
    const largest = logits.reduce((a, b) => Math.max(a, b));
    let sum = 0;
    for (const logit of logits) sum += Math.exp(logit - largest);
    const logSum = Math.log(sum);
    for (const [i, logit] of logits.entries()) {
      const logP = logit - largest - logSum;
      const p = Math.exp(logP);
      this.#sums[i] += p;
      if (p > 0) this.#negativeEntropies += p * logP;
    }
    this.#rows++;
  }

  #endSplit(): void {
    let ofMarginal = 0;
    for (const sum of this.#sums) if (sum > 0) ofMarginal += sum * Math.log(sum / this.#rows);
    this.#scores.push(Math.exp((this.#negativeEntropies - ofMarginal) / this.#rows));
    this.#sums.fill(0);
    this.#negativeEntropies = 0;
    this.#rows = 0;
  }
}

const average = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length;
