/**
 * Generated clicks: rows drawn by popularity, dense features, and labels from a logistic model whose AUC no trained
 * model can exceed on average.
 */
import { breaks } from "../breaks.ts";
import { mix, Random } from "../random.ts";
import { type LogShape, type Shape, shapeOf } from "./published.ts";
import { RANKS, type TableShape } from "./table_shape.ts";

/** Shape of the generated tables. */
export interface ClickModelOptions {
  /** Seed of the model and of all samples. */
  readonly seed: number;
  /** Divisor of the number of rows of large tables, which keep at least 1,000 rows; default 1, as measured. */
  readonly scale?: number;
  /** Default kaggle. */
  readonly shape?: Shape;
  /**
   * Share of the popular rows that swap popularity with unpopular ones between the first and the last sample, each at a
   * different time, 0 to 1; default 0.
   */
  readonly drift?: number;
}

/** Samples per block. Every block has its own random stream, so blocks can be computed in any order. */
export const BLOCK_SAMPLES = 1024;

/** Drawn samples. */
export interface ClickBlock {
  /** (samples): 0 or 1. */
  readonly labels: Uint8Array;
  /** (samples, dense features): whole numbers from 0, NaN where missing. */
  readonly dense: Float64Array;
  /** (samples, tables): row, numbered by initial popularity, 0 the most popular. */
  readonly ranks: Uint32Array;
  /** The true click probability of each sample. */
  readonly probabilities: Float64Array;
}

const MIN_SCALED_ROWS = 1000;
/**
 * Standard deviation of a row's effect on the logit, and of a dense feature's (for one standard deviation of its
 * logarithm).
 */
const ROW_EFFECT = 0.3;
const DENSE_EFFECT = 0.2;
/** Effects shrink from about this rank on: rows that are rarely seen cannot be learned. */
const EFFECT_RANK = 300;
const CALIBRATION_BLOCKS = 20;
/** Samples drawn at a time: few, because the first ones are drawn by code that is not compiled yet. */
const CALIBRATION_PART = 128;
/** Random streams; blocks use their number. */
const WEIGHTS_STREAM = 0xffffffff;
const CALIBRATION_STREAM = 0xfffffffe;

/** A click model with tables of some shape. The same options give the same samples. */
export class ClickModel {
  /** Rows of each table. */
  readonly rows: readonly number[];
  readonly denseFeatures: number;
  readonly #seed: number;
  readonly #drift: number;
  readonly #shape: LogShape;
  readonly #samplers: readonly PopularitySampler[];
  readonly #denseWeights: Float64Array;
  /** The constant of the logit, which determines the click rate. */
  readonly bias: number;

  /** With the bias of the logit that `calibrated` has found for these options. */
  constructor({ seed, scale = 1, shape = "kaggle", drift = 0 }: ClickModelOptions, bias: number) {
    this.#seed = seed;
    this.#drift = drift;
    this.#shape = shapeOf(shape);
    const { tables, dense } = this.#shape;
    this.denseFeatures = dense.length;
    this.rows = tables.map(({ rows }) =>
      rows <= MIN_SCALED_ROWS ? rows : Math.max(MIN_SCALED_ROWS, Math.floor(rows / scale))
    );
    this.#samplers = tables.map((table, t) => new PopularitySampler(table, this.rows[t]));
    const random = new Random(seed, WEIGHTS_STREAM);
    this.#denseWeights = Float64Array.from(dense, () => DENSE_EFFECT * random.normal());
    this.bias = bias;
  }

  /** The model with the click rate of its shape. */
  static async calibrated(options: ClickModelOptions): Promise<ClickModel> {
    return new ClickModel(options, await new ClickModel(options, 0).#calibrate());
  }

  get tables(): number {
    return this.rows.length;
  }

  block(): ClickBlock {
    return this.blockIn(new ArrayBuffer(this.blockBytes), 0);
  }

  get blockBytes(): number {
    return BLOCK_SAMPLES * (8 + 8 * this.denseFeatures + 4 * this.tables + 8);
  }

  /** A block in given memory from a byte position on, a multiple of 8. */
  blockIn(memory: ArrayBufferLike, at: number): ClickBlock {
    const dense = at + 8 * BLOCK_SAMPLES;
    const ranks = dense + 8 * BLOCK_SAMPLES * this.denseFeatures;
    return {
      probabilities: new Float64Array(memory, at, BLOCK_SAMPLES),
      dense: new Float64Array(memory, dense, BLOCK_SAMPLES * this.denseFeatures),
      ranks: new Uint32Array(memory, ranks, BLOCK_SAMPLES * this.tables),
      labels: new Uint8Array(memory, ranks + 4 * BLOCK_SAMPLES * this.tables, BLOCK_SAMPLES),
    };
  }

  /** Computes block `index`, always the same; with drift, for the relative position `time` in the log, 0 to 1. */
  draw(index: number, into: ClickBlock, time = 0): void {
    this.#draw(new Random(this.#seed, index), this.bias, time, into, 0, BLOCK_SAMPLES);
  }

  /** Computes some of the samples of a block, in order: all draw from the block's random stream. */
  #draw(random: Random, bias: number, time: number, into: ClickBlock, first: number, end: number): void {
    const { labels, dense, ranks, probabilities } = into;
    const tables = this.tables;
    const width = this.denseFeatures;
    for (let s = first; s < end; s++) {
      let logit = bias;
      for (let d = 0; d < width; d++) {
        const { missing, mean, deviation } = this.#shape.dense[d];
        const absent = random.uniform() < missing;
        const value = Math.floor(Math.exp(Math.max(mean + deviation * random.normal(), 0)) - 0.5);
        dense[s * width + d] = absent ? NaN : value;
        logit += this.#denseWeights[d] * ((absent ? 0 : Math.log(value + 1)) - mean) / deviation;
      }
      const common = random.normal();
      for (let t = 0; t < tables; t++) {
        const drawn = this.#samplers[t].draw(random, common);
        const rank = time * this.#drift === 0 ? drawn : this.#moved(t, drawn, time);
        ranks[s * tables + t] = rank;
        logit += this.#effect(t, rank);
      }
      const probability = 1 / (1 + Math.exp(-logit));
      probabilities[s] = probability;
      labels[s] = random.uniform() < probability ? 1 : 0;
    }
  }

  /** The row with the popularity rank `rank` at a time: rows of the two halves swap in pairs. */
  #moved(table: number, rank: number, time: number): number {
    const half = Math.floor(this.rows[table] / 2);
    if (rank >= 2 * half) return rank;
    const pair = rank % half;
    const moves = (mix(mix(mix(this.#seed) ^ ~table) ^ pair) >>> 0) / 2 ** 32;
    return moves < time * this.#drift ? (rank + half) % (2 * half) : rank;
  }

  /** Effect of a row on the logit: a uniform number determined by seed, table and rank. */
  #effect(table: number, rank: number): number {
    const uniform = (mix(mix(mix(this.#seed) ^ (table + 1)) ^ rank) >>> 0) / 2 ** 32;
    return ROW_EFFECT * Math.sqrt(12) * (uniform - 0.5) / Math.sqrt(1 + rank / EFFECT_RANK);
  }

  /** The bias that gives the click rate, by bisection over generated logits. */
  async #calibrate(): Promise<number> {
    const block = this.block();
    const logits: number[] = [];
    for (let b = 0; b < CALIBRATION_BLOCKS; b++) {
      const random = new Random(this.#seed, CALIBRATION_STREAM, b);
      for (let s = 0; s < BLOCK_SAMPLES; s += CALIBRATION_PART) {
        this.#draw(random, 0, 0, block, s, s + CALIBRATION_PART);
        if (breaks.due) await breaks.take();
      }
      for (const p of block.probabilities) logits.push(Math.log(p / (1 - p)));
    }
    let low = -20;
    let high = 20;
    for (let step = 0; step < 50; step++) {
      if (breaks.due) await breaks.take();
      const bias = (low + high) / 2;
      const rate = logits.reduce((sum, x) => sum + 1 / (1 + Math.exp(-x - bias)), 0) / logits.length;
      if (rate < this.#shape.clickRate) low = bias;
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

  /** A popularity rank; `common` is standard normal, low if the whole sample is popular. */
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
export function normalCdf(x: number): number {
  const z = Math.abs(x) / Math.SQRT2;
  const k = 1 / (1 + 0.3275911 * z);
  const tail = k * (0.254829592 + k * (-0.284496736 + k * (1.421413741 + k * (-1.453152027 + k * 1.061405429))));
  const half = 0.5 * tail * Math.exp(-z * z);
  return x < 0 ? half : 1 - half;
}
