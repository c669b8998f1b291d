/**
 * Generated clicks: rows drawn by popularity, dense features, and labels from a planted logistic model, whose AUC no
 * trained model can beat on average.
 */
import { mix, Random } from "../random.ts";
import { CRITEO_CLICK_RATE, CRITEO_DENSE, CRITEO_TABLES, RANKS, type TableShape } from "./criteo_shape.ts";

/** What the generated tables look like. */
export interface ClickModelOptions {
  /** Names the planted model and all draws from it. */
  readonly seed: number;
  /** Tables of more rows are compressed by this factor, but to no less than 1,000 rows; default 1: as measured. */
  readonly scale?: number;
}

/** Samples of a block. Every block is drawn from a stream of its own, so blocks can be drawn in any order. */
export const BLOCK_SAMPLES = 1024;

/** Drawn samples. */
export interface ClickBlock {
  /** (samples): 0 or 1. */
  readonly labels: Uint8Array;
  /** (samples, dense features): whole numbers from 0, NaN where missing. */
  readonly dense: Float64Array;
  /** (samples, tables): popularity rank of the row, 0 the most popular. */
  readonly ranks: Uint32Array;
  /** The true click probability of each sample. */
  readonly probabilities: Float64Array;
}

const MIN_SCALED_ROWS = 1000;
/** Standard deviation of a row's effect on the logit, and of a dense feature's (for one deviation of its logarithm). */
const ROW_EFFECT = 0.3;
const DENSE_EFFECT = 0.2;
/** Effects shrink from about this rank on: rows that are rarely seen cannot be learnt. */
const EFFECT_RANK = 300;
const CALIBRATION_BLOCKS = 20;
/** Streams of random numbers; blocks use their number. */
const WEIGHTS_STREAM = 0xffffffff;
const CALIBRATION_STREAM = 0xfffffffe;

/** A planted model over tables shaped like Criteo Kaggle's. Same options: same numbers. */
export class ClickModel {
  /** Rows of each table. */
  readonly rows: readonly number[];
  /** Number of dense features. */
  readonly denseFeatures: number = CRITEO_DENSE.length;
  readonly #seed: number;
  readonly #samplers: readonly PopularitySampler[];
  readonly #denseWeights: Float64Array;
  readonly #bias: number;

  constructor({ seed, scale = 1 }: ClickModelOptions) {
    this.#seed = seed;
    this.rows = CRITEO_TABLES.map(({ rows }) =>
      rows <= MIN_SCALED_ROWS ? rows : Math.max(MIN_SCALED_ROWS, Math.floor(rows / scale))
    );
    this.#samplers = CRITEO_TABLES.map((shape, t) => new PopularitySampler(shape, this.rows[t]));
    const random = new Random(seed, WEIGHTS_STREAM);
    this.#denseWeights = Float64Array.from(CRITEO_DENSE, () => DENSE_EFFECT * random.normal());
    this.#bias = this.#calibrate();
  }

  /** Number of tables. */
  get tables(): number {
    return this.rows.length;
  }

  /** Memory for `draw`. */
  block(): ClickBlock {
    return {
      labels: new Uint8Array(BLOCK_SAMPLES),
      dense: new Float64Array(BLOCK_SAMPLES * this.denseFeatures),
      ranks: new Uint32Array(BLOCK_SAMPLES * this.tables),
      probabilities: new Float64Array(BLOCK_SAMPLES),
    };
  }

  /** Draws block `index`, always the same. */
  draw(index: number, into: ClickBlock): void {
    this.#draw(new Random(this.#seed, index), this.#bias, into);
  }

  #draw(random: Random, bias: number, { labels, dense, ranks, probabilities }: ClickBlock): void {
    const tables = this.tables;
    const width = this.denseFeatures;
    for (let s = 0; s < BLOCK_SAMPLES; s++) {
      let logit = bias;
      for (let d = 0; d < width; d++) {
        const { missing, mean, deviation } = CRITEO_DENSE[d];
        const absent = random.uniform() < missing;
        const value = Math.floor(Math.exp(Math.max(mean + deviation * random.normal(), 0)) - 0.5);
        dense[s * width + d] = absent ? NaN : value;
        logit += this.#denseWeights[d] * ((absent ? 0 : Math.log(value + 1)) - mean) / deviation;
      }
      const common = random.normal();
      for (let t = 0; t < tables; t++) {
        const rank = this.#samplers[t].draw(random, common);
        ranks[s * tables + t] = rank;
        logit += this.#effect(t, rank);
      }
      const probability = 1 / (1 + Math.exp(-logit));
      probabilities[s] = probability;
      labels[s] = random.uniform() < probability ? 1 : 0;
    }
  }

  /** What a row adds to the logit: a uniform number named by seed, table and rank. */
  #effect(table: number, rank: number): number {
    const uniform = (mix(mix(mix(this.#seed) ^ (table + 1)) ^ rank) >>> 0) / 2 ** 32;
    return ROW_EFFECT * Math.sqrt(12) * (uniform - 0.5) / Math.sqrt(1 + rank / EFFECT_RANK);
  }

  /** The bias that gives the click rate, by bisection over drawn logits. */
  #calibrate(): number {
    const block = this.block();
    const logits: number[] = [];
    for (let b = 0; b < CALIBRATION_BLOCKS; b++) {
      this.#draw(new Random(this.#seed, CALIBRATION_STREAM, b), 0, block);
      for (const p of block.probabilities) logits.push(Math.log(p / (1 - p)));
    }
    let low = -20;
    let high = 20;
    for (let step = 0; step < 50; step++) {
      const bias = (low + high) / 2;
      const rate = logits.reduce((sum, x) => sum + 1 / (1 + Math.exp(-x - bias)), 0) / logits.length;
      if (rate < CRITEO_CLICK_RATE) low = bias;
      else high = bias;
    }
    return low;
  }
}

/** Draws rows of one table by popularity. Between measured points the share grows as a power of the rank. */
class PopularitySampler {
  readonly #shares: Float64Array;
  readonly #ranks: Float64Array;
  /** 1 / exponent of the share's growth up to point i. */
  readonly #slopes: Float64Array;
  readonly #compression: number;
  readonly #lastRow: number;
  readonly #loading: number;
  readonly #residual: number;

  constructor({ rows, shares, loading = 0 }: TableShape, scaledRows: number) {
    this.#shares = Float64Array.of(...shares, 1);
    this.#ranks = Float64Array.of(...RANKS.slice(0, shares.length), rows);
    this.#slopes = this.#shares.map((share, i) =>
      i === 0 ? 0 : Math.log(this.#ranks[i] / this.#ranks[i - 1]) / Math.log(share / this.#shares[i - 1])
    );
    this.#compression = scaledRows / rows;
    this.#lastRow = scaledRows - 1;
    this.#loading = loading;
    this.#residual = Math.sqrt(1 - loading * loading);
  }

  /** A rank; `common` is standard normal, low where the whole sample is popular. */
  draw(random: Random, common: number): number {
    const u = this.#loading === 0
      ? random.uniform()
      : normalCdf(this.#loading * common + this.#residual * random.normal());
    const shares = this.#shares;
    if (u <= shares[0]) return 0;
    let i = 1;
    while (u > shares[i]) i++;
    const rank = this.#ranks[i - 1] * (u / shares[i - 1]) ** this.#slopes[i];
    return Math.min(Math.floor(rank * this.#compression), this.#lastRow);
  }
}

/** Standard normal distribution function (Abramowitz and Stegun 7.1.26; absolute error below 1e-7). */
function normalCdf(x: number): number {
  const z = Math.abs(x) / Math.SQRT2;
  const k = 1 / (1 + 0.3275911 * z);
  const tail = k * (0.254829592 + k * (-0.284496736 + k * (1.421413741 + k * (-1.453152027 + k * 1.061405429))));
  const half = 0.5 * tail * Math.exp(-z * z);
  return x < 0 ? half : 1 - half;
}
