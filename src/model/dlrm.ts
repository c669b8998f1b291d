/**
 * The training step, written once over the backend contract.
 *
 * ```
 * dense -----------------------------------.
 * sparse -> rows of a store -> sum pooling --+-> layers -> logit -> BCE
 * ```
 * A `Dlrm` is one rank's part: it computes a fixed slice of the samples of every batch and updates a fixed share of the
 * parameters. Embedding rows lie in a store, on the device that computes the layers or on the host; where the two differ,
 * pooled vectors go one way and their gradients the other, and nothing else changes.
 */
import { denseStateWords } from "../optimizer/optimizers.ts";
import { type Backend, type Buffer, Header, type HostBackend, type RowUpdateShape } from "../backend/backend.ts";
import { type Collective, samplesOfRank } from "../collective/collective.ts";
import { type BatchSections, batchSections, type BatchShape } from "../layout/batch.ts";
import { HotsetError } from "../errors.ts";
import { ReplicaExchange, type ReplicaLists } from "./replica_exchange.ts";
import type { BoundLayer } from "./layers/layer.ts";
import { Network } from "./network.ts";
import type { ModelPlan } from "./shape.ts";
import { lossFault } from "./loss_fault.ts";

/** Embedding rows with their optimizer state: all tables of a model, or the replica of the hot rows. */
export interface EmbeddingStore {
  readonly backend: Backend;
  readonly rows: number;
  /** (rows, dim) */
  readonly weights: Buffer;
  /** (rows, rowStateWords); undefined if the optimizer keeps none. */
  readonly state: Buffer | undefined;
}

/** Where a rank computes and what it shares with the other ranks. All buffers lie on the device. */
export interface RankMemory {
  /** Computes the layers. */
  readonly device: Backend;
  /** Holds what is not on the device; the same object as `device` on a CPU. */
  readonly host: HostBackend;
  /** Dense parameters (plan.denseWords): one vector for all ranks, or a replica on each device. */
  readonly parameters: Buffer;
  /** Optimizer state of the dense parameters; undefined if it keeps none. */
  readonly denseState: Buffer | undefined;
  /** This rank's dense gradients (plan.denseWords), readable by the others. */
  readonly gradients: Buffer;
  /** Gradients of the pooled rows of the whole batch, pooledGradientWords: one for all ranks, or one on each device. */
  readonly pooledGradients: Buffer;
  /** The same in host memory, for rows that lie there, one for all ranks; undefined if the host is the device. */
  readonly hostGradients: Buffer | undefined;
  /** This rank's sum of losses since it was last taken, one word. */
  readonly lossSum: Buffer;
  /** Moves messages on, between operations that take long; undefined if there are none. */
  readonly poll?: (() => void) | undefined;
}

/** A rank's views of a batch block. */
interface BatchViews {
  readonly header: Buffer;
  readonly labels: Buffer;
  readonly dense: Buffer;
  readonly indices: Buffer;
  readonly offsets: Buffer | undefined;
  readonly segmentBags: Buffer;
  readonly segments: Buffer;
}

/** Rows that lie on several hosts: brought here before a step pools them, and updated together after its backward pass. */
export interface RemoteRows {
  /** Rows to pool from, (rows, dim). */
  readonly weights: Buffer;
  /** Index of each lookup of this rank's samples among them, in the places of the batch's own; undefined for those. */
  readonly indices: Buffer | undefined;
  /** Brings the rows of the batch. */
  fetch(): void;
  /** Updates them from the gradients of all hosts. */
  update(): void;
}

/** A place for batches together with the store their rows lie in; made once, used for every batch put there. */
export interface StepInput {
  readonly store: EmbeddingStore;
  /** The block on the device. */
  readonly compute: BatchViews;
  /** The model's layers over the block on the device. */
  readonly layers: BoundLayer;
  /** The block on the store's backend; the same views where that is the device. */
  readonly lookup: BatchViews;
  /** How ranks exchange the gradients of these rows; undefined unless each has a replica on its device. */
  readonly exchange: ReplicaExchange | undefined;
  /** The lists of a batch that the exchange needs. */
  readonly lists: ReplicaLists | undefined;
  /** How rows of several hosts are found and updated; undefined where they all lie in the store. */
  readonly remote: RemoteRows | undefined;
  /** The step over a full batch, once it was run (and perhaps recorded). */
  replay: (() => void) | undefined;
}

/** Pooled rows of this rank's samples and their gradients, on one backend. */
interface Pooled {
  readonly backend: Backend;
  readonly values: Buffer;
  readonly gradients: Buffer;
  readonly allGradients: Buffer;
}

/** One rank of a model. */
export class Dlrm {
  readonly plan: ModelPlan;
  /** This rank's samples are `[firstSample, firstSample + capacity)` of every batch. */
  readonly firstSample: number;
  readonly capacity: number;
  /** Logits of this rank's samples after `score` or `train`, (capacity). */
  readonly logits: Buffer;
  /** Sums of each hidden unit over this rank's samples after `score`, (hiddenUnits): 0 if it was 0 for all of them. */
  readonly unitSums: Buffer;
  readonly #shape: BatchShape;
  readonly #sections: BatchSections;
  readonly #memory: RankMemory;
  readonly #collective: Collective;
  readonly #rowUpdate: RowUpdateShape;
  readonly #network: Network;
  readonly #onDevice: Pooled;
  readonly #onHost: Pooled;
  readonly #exchanges = new Map<EmbeddingStore, ReplicaExchange>();
  readonly #owned: { words: number; parameters: Buffer; gradients: Buffer; state: Buffer | undefined };

  /** Allocates the activations of one rank. */
  constructor(plan: ModelPlan, shape: BatchShape, memory: RankMemory, collective: Collective) {
    const { rank, ranks, writer, writers } = collective;
    const { device, host } = memory;
    const { dim, optimizer, tableRows } = plan.shape;
    this.plan = plan;
    const { first: firstSample, count } = samplesOfRank(shape.batchSize, rank, ranks);
    this.firstSample = firstSample;
    this.capacity = count;
    this.#shape = shape;
    this.#sections = batchSections(shape);
    this.#memory = memory;
    this.#collective = collective;
    this.#rowUpdate = { optimizer, dim, rank: writer, ranks: writers };
    this.#network = new Network(plan, this.capacity, memory);
    this.logits = this.#network.logits;
    this.unitSums = this.#network.unitSums;
    const bagWords = tableRows.length * dim;
    const pooled = (backend: Backend, allGradients: Buffer): Pooled => ({
      backend,
      values: backend.allocate(this.capacity * bagWords, "pooled rows"),
      gradients: backend.view(allGradients, this.firstSample * bagWords, this.capacity * bagWords),
      allGradients,
    });
    this.#onDevice = pooled(device, memory.pooledGradients);
    this.#onHost = memory.hostGradients === undefined ? this.#onDevice : pooled(host, memory.hostGradients);
    const { first, words } = collective.share(plan.denseWords);
    const own = (vector: Buffer) => device.view(vector, first, words);
    const stateOf = (weights: number) => denseStateWords(plan.shape.optimizer, weights);
    this.#owned = {
      words,
      parameters: own(memory.parameters),
      gradients: own(memory.gradients),
      state: memory.denseState && device.view(memory.denseState, stateOf(first), stateOf(words)),
    };
  }

  /**
   * Binds a place for batches. `deviceBlock` is a batch block on the device, `hostBlock` the same batch in host memory;
   * with the rows on the host, the device block need hold no more than header, labels and dense features. No batch that
   * is trained on has more than `mostDistinct` distinct rows.
   */
  input(
    store: EmbeddingStore,
    deviceBlock: Buffer,
    hostBlock: Buffer,
    mostDistinct: number,
    remote?: RemoteRows,
  ): StepInput {
    const { device, host } = this.#memory;
    const onDevice = store.backend === device;
    const compute = this.#views(device, deviceBlock, onDevice);
    let lookup = onDevice ? compute : this.#views(host, hostBlock, true);
    if (remote?.indices !== undefined) lookup = { ...lookup, indices: this.#ownIndices(host, remote.indices) };
    const exchange = onDevice ? this.#exchangeOf(store, mostDistinct) : undefined;
    const { values: pooled, gradients: pooledGradients } = this.#onDevice;
    const layers = this.#network.bind({ dense: compute.dense, pooled, pooledGradients });
    return { store, compute, layers, lookup, exchange, lists: exchange?.newLists(), remote, replay: undefined };
  }

  #exchangeOf(store: EmbeddingStore, mostDistinct: number): ReplicaExchange | undefined {
    const { devices } = this.#collective;
    const found = this.#exchanges.get(store);
    if (found !== undefined || devices === undefined) return found;
    const { device, pooledGradients } = this.#memory;
    const made = new ReplicaExchange(device, devices, this.#shape, this.plan.shape, mostDistinct, pooledGradients);
    this.#exchanges.set(store, made);
    return made;
  }

  /** This rank's part of indices that lie as a batch's do. */
  #ownIndices(backend: Backend, indices: Buffer): Buffer {
    const { tables, bags, lookupCapacity } = this.#shape;
    // Offsets count from the first lookup of the batch, so with bags a rank needs all indices.
    return bags
      ? backend.view(indices, 0, lookupCapacity)
      : backend.view(indices, this.firstSample * tables, this.capacity * tables);
  }

  #views(backend: Backend, block: Buffer, sparse: boolean): BatchViews {
    const { denseFeatures, tables, bags, lookupCapacity } = this.#shape;
    const { labels, dense, indices, offsets, segmentBags, segments } = this.#sections;
    const { firstSample: first, capacity } = this;
    const part = (at: number, words: number) => backend.view(block, at, words);
    const sparsePart = (at: number, words: number) => part(sparse ? at : 0, sparse ? words : 0);
    return {
      header: part(0, labels),
      labels: part(labels + first, capacity),
      dense: part(dense + first * denseFeatures, capacity * denseFeatures),
      indices: sparse ? this.#ownIndices(backend, part(indices, lookupCapacity)) : part(0, 0),
      offsets: bags ? sparsePart(offsets + first * tables, capacity * tables + 1) : undefined,
      segmentBags: sparsePart(segmentBags, lookupCapacity),
      segments: sparsePart(segments, 2 * (lookupCapacity + 1)),
    };
  }

  /** Samples of a batch that are this rank's. */
  samplesOf(batchSamples: number): number {
    return Math.min(Math.max(batchSamples - this.firstSample, 0), this.capacity);
  }

  /** Forward pass over this rank's samples of the batch in `input`; leaves `logits` and `unitSums`. */
  score(input: StepInput, batchSamples: number): void {
    const samples = this.samplesOf(batchSamples);
    this.#forward(input, samples);
    this.#network.sumUnits(samples);
  }

  /** One training step: forward, backward, and the update of this rank's share of rows and dense parameters. */
  train(input: StepInput, batchSamples: number): void {
    if (batchSamples < this.#shape.batchSize || input.store.backend !== this.#memory.device) {
      this.#step(input, this.samplesOf(batchSamples));
    } else if (input.replay === undefined) {
      input.replay = this.#memory.device.repeatable(() => this.#step(input, this.capacity));
    } else {
      input.replay();
    }
  }

  #forward({ store, layers, lookup, remote }: StepInput, samples: number): void {
    const { device } = this.#memory;
    const { dim } = this.plan.shape;
    const { tables } = this.#shape;
    const pooled = store.backend === device ? this.#onDevice : this.#onHost;
    remote?.fetch();
    const weights = remote?.weights ?? store.weights;
    store.backend.pool(samples * tables, dim, weights, lookup.indices, lookup.offsets, pooled.values);
    if (pooled !== this.#onDevice) this.#toDevice(pooled.values, this.#onDevice.values, samples * tables * dim);
    layers.forward(samples);
  }

  #step(input: StepInput, samples: number): void {
    const { device, gradients, lossSum } = this.#memory;
    const { compute } = input;
    this.#forward(input, samples);
    device.loss(samples, compute.header, this.logits, compute.labels, this.#network.logitGradients, lossSum);
    if (device === this.#memory.host) this.#expectFiniteLoss(compute.header);
    input.layers.backward(samples);
    this.#collective.sum(gradients);
    if (input.exchange !== undefined) {
      input.exchange.update(compute, input.lists, input.store.weights, input.store.state);
    } else {
      if (input.store.backend !== device) this.#gradientsToHost(samples);
      if (input.remote !== undefined) input.remote.update();
      else this.updateRows(input);
    }
    const { optimizer } = this.plan.shape;
    const { words, parameters, gradients: sums, state } = this.#owned;
    device.updateDense(optimizer, words, compute.header, parameters, sums, state);
    // Ranks with replicas share nothing that this step wrote.
    if (input.exchange === undefined) this.#collective.barrier();
  }

  /** Throws before anything is updated, so that the parameters that made the loss so can be looked at. */
  #expectFiniteLoss(header: Buffer): void {
    const { host, lossSum } = this.#memory;
    if (Number.isFinite(host.floats(lossSum)[0])) return;
    const { buffer, byteOffset } = host.floats(header);
    throw new HotsetError(lossFault(new Uint32Array(buffer, byteOffset)[Header.step]));
  }

  /** Updates this rank's share of the rows of the batch, with the gradients of all samples. */
  updateRows({ store, lookup }: StepInput): void {
    const { allGradients } = store.backend === this.#memory.device ? this.#onDevice : this.#onHost;
    const { header, segments, segmentBags } = lookup;
    store.backend.updateRows(
      this.#rowUpdate,
      header,
      segments,
      segmentBags,
      allGradients,
      store.weights,
      store.state,
    );
  }

  /** Brings the gradients of pooled rows to the host, and waits for those of the other ranks. */
  #gradientsToHost(samples: number): void {
    const { device, host } = this.#memory;
    const words = samples * this.#shape.tables * this.plan.shape.dim;
    device.download(this.#onDevice.gradients, host.floats(this.#onHost.gradients).subarray(0, words));
    this.#collective.barrier();
  }

  #toDevice(source: Buffer, target: Buffer, words: number): void {
    this.#memory.device.upload(this.#memory.host.floats(source).subarray(0, words), target);
  }
}
