/** Forward pass of a model in this process's memory, on the calling thread. */
import type { Buffer, HostBackend } from "../backend/backend.ts";
import { HotsetError } from "../errors.ts";
import type { Checkpoint } from "../checkpoint/checkpoint.ts";
import { notFinite } from "../checkpoint/weights.ts";
import type { EncodedRows } from "../dataset/row_encoder.ts";
import { type BoundNetwork, Network } from "../model/network.ts";
import { type ModelPlan, planModel } from "../model/shape.ts";
import { type LookedUpRows, RowsInMemory, RowsOnDisk } from "./looked_up_rows.ts";

/** Maximum samples per forward pass. */
const MAX_SAMPLES = 256;
/** Initial capacity for lookups: average number per bag. It grows when a batch needs more. */
const LOOKUPS_A_BAG = 2;

/** Computes logits. Allocates only if a batch has more lookups than any before. */
export class Scorer implements Disposable {
  /** Maximum samples of a call of `logits`. */
  readonly capacity = MAX_SAMPLES;
  readonly #host: HostBackend;
  readonly #plan: ModelPlan;
  readonly #bags: boolean;
  readonly #rows: LookedUpRows;
  readonly #inputs: Readonly<Record<"dense" | "pooled" | "offsets", Buffer>>;
  /** Weights of lookups, once there are any. */
  #weights: Buffer | undefined;
  readonly #network: Network;
  readonly #bound: BoundNetwork;
  readonly #bagsOfSample: number;

  private constructor(host: HostBackend, plan: ModelPlan, bags: boolean, parameters: Buffer, rows: LookedUpRows) {
    const { dim, bottom, steps = 1 } = plan.shape;
    this.#host = host;
    this.#plan = plan;
    this.#bags = bags;
    this.#rows = rows;
    this.#bagsOfSample = bagsOfSample(plan);
    const bagsOfBatch = MAX_SAMPLES * this.#bagsOfSample;
    this.#inputs = {
      dense: host.allocate(MAX_SAMPLES * steps * (bottom[0] ?? 0), "dense features"),
      pooled: host.allocate(bagsOfBatch * dim, "pooled rows"),
      offsets: host.allocate(bagsOfBatch + 1, "offsets"),
    };
    host.keepWeights?.(true);
    this.#network = new Network(plan, MAX_SAMPLES, { device: host, parameters, gradients: undefined });
    this.#bound = this.#network.bind({ ...this.#inputs, pooledGradients: undefined });
  }

  /**
   * Loads a checkpoint into the memory of a backend; its rows only if `cacheBytes`, the memory for them, is undefined.
   * With `bags` a sample can have any number of lookups in a table.
   */
  static async load(host: HostBackend, checkpoint: Checkpoint, bags: boolean, cacheBytes?: number): Promise<Scorer> {
    const plan = planModel(checkpoint.body.model);
    const parameters = host.allocate(plan.denseWords, "dense parameters");
    const dense = { host, device: host, parameters, denseState: undefined };
    const lookups = MAX_SAMPLES * bagsOfSample(plan) * (bags ? LOOKUPS_A_BAG : 1);
    if (cacheBytes !== undefined) {
      await checkpoint.loadDense(dense);
      const rows = new RowsOnDisk(host, plan, lookups, checkpoint, cacheBytes);
      return new Scorer(host, plan, bags, parameters, rows);
    }
    const rows = new RowsInMemory(host, plan, lookups);
    await checkpoint.load({ ...dense, full: rows.matrix }, plan.shape);
    return new Scorer(host, plan, bags, parameters, rows);
  }

  /**
   * The logits of up to `capacity` samples; valid until the next call. Indices must be below the rows of their tables.
   * Throws HotsetError if a logit is not a number; the message numbers samples from `first`.
   */
  logits({ count, dense, indices, lookupWeights, offsets }: EncodedRows, first: number): Float32Array {
    const host = this.#host;
    const { dim } = this.#plan.shape;
    const inputs = this.#inputs;
    host.upload(dense, inputs.dense);
    const { table, positions } = this.#rows.take(indices);
    if (this.#bags) host.upload(offsets!, inputs.offsets);
    const begins = this.#bags ? inputs.offsets : undefined;
    const weights = lookupWeights && this.#uploadWeights(lookupWeights);
    host.pool(count * this.#bagsOfSample, dim, table, positions, begins, inputs.pooled, weights);
    this.#bound.forward(count);
    const logits = host.floats(this.#network.logits).subarray(0, count);
    const wrong = notFinite(logits);
    if (wrong < 0) return logits;
    throw new HotsetError(
      `Cannot score row ${first + wrong} (from 0): its logit is ${
        logits[wrong]
      }, though all parameters are finite; look for ` +
        `dense features far larger than those trained on`,
      { code: "diverged" },
    );
  }

  #uploadWeights(weights: Float32Array): Buffer {
    if (this.#weights === undefined || this.#weights.words < weights.length) {
      this.#weights = this.#host.allocate(2 * weights.length, "weights of lookups");
    }
    this.#host.upload(weights, this.#weights);
    return this.#weights;
  }

  /** Closes the files of rows on disk. */
  [Symbol.dispose](): void {
    this.#rows[Symbol.dispose]();
  }
}

function bagsOfSample({ shape: { steps = 1, tableRows } }: ModelPlan): number {
  return steps * tableRows.length;
}
