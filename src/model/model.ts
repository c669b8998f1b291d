/**
 * The training step, written once over the backend contract.
 *
 * ```
 * dense ------------------------------------.
 * sparse -> rows of tables -> sum of bags --+-> layers -> logit -> BCE
 * ```
 * A `Model` is one rank's part: it computes a fixed slice of the samples of every batch and updates a fixed share of the
 * parameters. Only its `EmbeddingTables` know where embedding rows are.
 */
import { denseStateWords } from "../optimizer/optimizers.ts";
import { type Backend, type Buffer, Header, type HostBackend } from "../backend/backend.ts";
import { GradientSum } from "../parallel/gradient_sum.ts";
import { nodeBarrier } from "../parallel/node_barrier.ts";
import type { ProcessGroups } from "../parallel/process_group.ts";
import { samplesOfRank } from "../parallel/shares.ts";
import { type BatchSections, batchSections, type BatchShape } from "../layout/batch.ts";
import type { BatchSlot, BoundTables, EmbeddingTables, TableContext, TableLookups } from "../embedding/tables.ts";
import { HotsetError } from "../errors.ts";
import { type ClipMemory, GradientClip } from "./gradient_clip.ts";
import { type BoundNetwork, type MicroBatch, Network } from "./network.ts";
import type { ModelPlan } from "./shape.ts";
import { faultMessage } from "./step_fault.ts";

/** Memory of a model that ranks share, or of which each device has a copy: buffers of type `B` on the device. */
export interface ModelBuffers<B> {
  /** Dense parameters (plan.denseWords): one vector for all ranks, or a replica on each device. */
  readonly parameters: B;
  /** Optimizer state of the dense parameters; undefined if the optimizer has none, or the model is only scored. */
  readonly denseState: B | undefined;
  /**
   * Dense gradients (plan.denseWords): of all ranks of the node if they share memory, otherwise only of this rank. None if
   * the model is only scored.
   */
  readonly gradients: readonly B[];
  /** Gradients of the pooled rows of the whole batch, pooledGradientWords: one for all ranks, or one on each device. */
  readonly pooledGradients: B;
  /** Gradients of the pooled rows of a batch in host memory, shared; undefined if the host computes. */
  readonly hostGradients: B | undefined;
  /** Clips gradients by their norm; undefined for no clipping. */
  readonly clip: ClipMemory<B> | undefined;
}

/** Devices of a rank, and its memory. */
export interface RankMemory extends ModelBuffers<Buffer> {
  /** The device of the layers. */
  readonly device: Backend;
  /** The host, for everything that is not on the device; the same object as `device` on a CPU. */
  readonly host: HostBackend;
  /** This rank's sum of losses since it was last taken, one word. */
  readonly lossSum: Buffer;
  /** Progresses messages between long operations; undefined if there are none. */
  readonly poll?: (() => void) | undefined;
}

/** A slot for batches, bound to the model and its tables; created once, used for every batch that is read there. */
export interface StepInput {
  readonly slot: BatchSlot;
  readonly tables: BoundTables;
  /** The model's layers over the block on the device. */
  readonly network: BoundNetwork;
  /** A view of that block: the header. */
  readonly header: Buffer;
  /** The loss of a micro-batch, and the gradients of its logits. */
  readonly loss: (part: MicroBatch, samples: number) => void;
  /** Clips the gradients of a step; undefined for no clipping. */
  readonly clip: ((samples: number) => void) | undefined;
  /** The lookups of the batch that was loaded. */
  lookups: TableLookups | undefined;
  /** The step over a full batch for each kind of lookups, once it was run (and possibly recorded). */
  readonly replays: Map<TableLookups, () => void>;
}

/** The share of the dense weights that a rank updates. */
interface OwnedWeights {
  readonly words: number;
  readonly parameters: Buffer;
  readonly gradients: Buffer;
  readonly state: Buffer | undefined;
}

function ownedWeights(
  { shape: { optimizer } }: ModelPlan,
  { device, parameters, denseState }: RankMemory,
  { gradients, share: { first, words } }: GradientSum,
): OwnedWeights {
  const share = (vector: Buffer) => device.view(vector, first, words);
  const stateOf = (weights: number) => denseStateWords(optimizer, weights);
  return {
    words,
    parameters: share(parameters),
    gradients: share(gradients),
    state: denseState && device.view(denseState, stateOf(first), stateOf(words)),
  };
}

/** One rank of a model. */
export class Model {
  readonly plan: ModelPlan;
  /** The embedding rows. */
  readonly tables: EmbeddingTables;
  /** This rank's samples are `[firstSample, firstSample + capacity)` of every batch. */
  readonly firstSample: number;
  readonly capacity: number;
  /** Logits of this rank's samples after `score` or `train`, (capacity). */
  readonly logits: Buffer;
  /** `Network.unitSums` of this rank's samples after `score`. */
  readonly unitSums: Buffer;
  readonly #shape: BatchShape;
  readonly #sections: BatchSections;
  readonly #memory: RankMemory;
  readonly #groups: ProcessGroups<Buffer>;
  /** Undefined if the model is only scored. */
  readonly #gradientSum: GradientSum | undefined;
  readonly #network: Network;
  /** Pooled rows of this rank's samples, and their gradients. */
  readonly #pooled: Buffer;
  readonly #dPooled: Buffer;
  readonly #clip: GradientClip | undefined;
  readonly #owned: OwnedWeights | undefined;

  /** Allocates the activations of one rank. */
  constructor(
    plan: ModelPlan,
    shape: BatchShape,
    memory: RankMemory,
    groups: ProcessGroups<Buffer>,
    openTables: (context: TableContext) => EmbeddingTables,
  ) {
    const { world } = groups;
    const { device, host, pooledGradients } = memory;
    const { dim } = plan.shape;
    this.plan = plan;
    const { first: firstSample, count } = samplesOfRank(shape.batchSize, world.rank, world.size);
    this.firstSample = firstSample;
    this.capacity = count;
    this.#shape = shape;
    this.#sections = batchSections(shape);
    this.#memory = memory;
    this.#groups = groups;
    this.#gradientSum = memory.gradients.length === 0 ? undefined : new GradientSum(groups, host, memory.gradients);
    this.#network = new Network(plan, this.capacity, { ...memory, gradients: this.#gradientSum?.gradients });
    this.logits = this.#network.logits;
    this.unitSums = this.#network.unitSums;
    const bagWords = shape.tables * dim;
    this.#pooled = device.allocate(this.capacity * bagWords, "pooled rows");
    this.#dPooled = device.view(pooledGradients, this.firstSample * bagWords, this.capacity * bagWords);
    const context = { shape: plan.shape, batchShape: shape, host, device, groups, pooledGradients };
    this.tables = openTables(context);
    if (this.#gradientSum === undefined) return;
    this.#owned = ownedWeights(plan, memory, this.#gradientSum);
    const computed = { dense: this.#owned.gradients, pooled: this.#dPooled, firstSample, sampleWords: bagWords };
    this.#clip = memory.clip && new GradientClip(context, computed, memory.clip, memory.hostGradients);
  }

  /** Binds a slot for batches. */
  input(slot: BatchSlot): StepInput {
    const { denseFeatures, tables, bags } = this.#shape;
    const { labels, dense, offsets } = this.#sections;
    const { firstSample: first, capacity } = this;
    const part = (at: number, words: number) => this.#memory.device.view(slot.deviceBlock, at, words);
    const header = part(0, labels);
    const { device, lossSum } = this.#memory;
    const labelsOf = new Map(
      this.#network.microBatches.map((own) => [own, part(labels + first + own.first, own.capacity)]),
    );
    return {
      slot,
      tables: this.tables.bind(slot),
      network: this.#network.bind({
        dense: part(dense + first * denseFeatures, capacity * denseFeatures),
        pooled: this.#pooled,
        offsets: bags ? part(offsets + first * tables, capacity * tables + 1) : undefined,
        pooledGradients: this.#dPooled,
        step: { header, firstSample: first },
      }),
      header,
      loss: (own, samples) => device.loss(samples, header, own.logits, labelsOf.get(own)!, own.logitGradients, lossSum),
      clip: this.#clip?.bind(slot),
      lookups: undefined,
      replays: new Map(),
    };
  }

  /** Prepares a step over the batch in the slot: its rows are available, and the device has its words. */
  load(input: StepInput, training: boolean): void {
    const { slot, tables } = input;
    const { device, host } = this.#memory;
    input.lookups = tables.prepare(training);
    if ((host as Backend) === device) return;
    const { batch, deviceBlock, upload } = slot;
    const { deviceWords } = input.lookups;
    if (upload === undefined) device.upload(batch.words.subarray(0, deviceWords), deviceBlock);
    else upload.begin(deviceWords, deviceBlock);
  }

  /** Number of this rank's samples in a batch. */
  samplesOf(batchSamples: number): number {
    return Math.min(Math.max(batchSamples - this.firstSample, 0), this.capacity);
  }

  /**
   * Forward pass over this rank's samples of the batch that was loaded; leaves `logits`, and `unitSums` of the hidden
   * layers with `counted`.
   */
  score(input: StepInput, batchSamples: number, counted: readonly boolean[]): void {
    const samples = this.samplesOf(batchSamples);
    input.lookups!.pool(samples, this.#pooled);
    input.network.score(samples, counted);
  }

  /**
   * One training step over the batch that was loaded: forward, backward, and the update of this rank's share of rows and
   * dense parameters.
   */
  train(input: StepInput, batchSamples: number): void {
    const lookups = input.lookups!;
    if (batchSamples < this.#shape.batchSize || !lookups.recordable || input.clip !== undefined) {
      return this.#step(input, lookups, this.samplesOf(batchSamples));
    }
    const replay = input.replays.get(lookups);
    if (replay !== undefined) return replay();
    input.replays.set(lookups, this.#memory.device.repeatable(() => this.#step(input, lookups, this.capacity)));
  }

  #step(input: StepInput, lookups: TableLookups, samples: number): void {
    const { device } = this.#memory;
    const { header, network, loss } = input;
    lookups.pool(samples, this.#pooled);
    network.train(samples, loss);
    if (device === this.#memory.host) this.#expectFiniteLoss(header);
    this.#gradientSum!.sum();
    input.clip?.(samples);
    lookups.update(samples);
    const { optimizer } = this.plan.shape;
    const { words, parameters, gradients: sums, state } = this.#owned!;
    device.updateDense(optimizer, words, header, parameters, sums, state);
    // Ranks with replicas share nothing that this step wrote.
    if (lookups.shared) nodeBarrier(this.#groups, device);
  }

  /** Throws before anything is updated, so that the parameters that caused the loss can be examined. */
  #expectFiniteLoss(header: Buffer): void {
    const { host, lossSum } = this.#memory;
    if (Number.isFinite(host.floats(lossSum)[0])) return;
    throw new HotsetError(faultMessage({ what: "loss", step: host.integers(header)[Header.step] }));
  }
}
