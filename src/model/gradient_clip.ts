/**
 * Gradient clipping by norm, as `torch.nn.utils.clip_grad_norm_` over all parameters. The gradient of a table is the
 * coalesced sparse gradient: a row that a batch looks up several times counts once, with the sum of its gradients. The
 * norm is that of the whole batch, independent of the number of ranks.
 */
import { type Buffer, Header } from "../backend/backend.ts";
import { type BatchSlot, lookupViews, type TableContext } from "../embedding/tables.ts";
import { HotsetError } from "../errors.ts";
import { nodeBarrier } from "../parallel/node_barrier.ts";
import { shareOf } from "../parallel/shares.ts";
import { faultMessage } from "./step_fault.ts";

/** Added to the norm before dividing by it, as in PyTorch. */
const EPSILON = 1e-6;

/** Memory that the ranks of a node share for clipping, on the host. */
export interface ClipMemory<B = Buffer> {
  /** Maximum norm of the gradients of a step. */
  readonly maxNorm: number;
  /** Each rank's contribution to the sum of squares: one double per rank of the node. */
  readonly squares: B;
}

/** The gradients that one rank computes, in the memory of its device. */
export interface OwnGradients {
  /** Dense gradients summed over all ranks: on a CPU the share that this rank updates, on a device all of them. */
  readonly dense: Buffer;
  /** Gradients of the pooled rows of this rank's samples, (capacity, sampleWords): a view of the context's buffer. */
  readonly pooled: Buffer;
  readonly firstSample: number;
  readonly sampleWords: number;
}

/** Gradients in host memory. */
interface HostGradients {
  readonly dense: Buffer;
  /** The part whose squares this rank adds. The shares of the ranks are disjoint. */
  readonly denseShare: Buffer;
  /** Gradients of the pooled rows of this rank's samples, and of the whole batch. */
  readonly pooled: Buffer;
  readonly allPooled: Buffer;
}

/** One rank's part in the clipping. Gradients that a device computed are clipped on the host. */
export class GradientClip {
  readonly #context: TableContext;
  readonly #own: OwnGradients;
  readonly #onHost: HostGradients;
  readonly #maxNorm: number;
  readonly #squares: Float64Array;

  /**
   * `hostGradients` holds the gradients of the pooled rows of a batch and is shared; undefined if the host computes.
   */
  constructor(
    context: TableContext,
    own: OwnGradients,
    { maxNorm, squares }: ClipMemory,
    hostGradients: Buffer | undefined,
  ) {
    const { host, groups: { node }, pooledGradients } = context;
    this.#context = context;
    this.#own = own;
    this.#maxNorm = maxNorm;
    const { buffer, byteOffset, byteLength } = host.floats(squares);
    this.#squares = new Float64Array(buffer, byteOffset, byteLength / 8);
    if (hostGradients === undefined) {
      this.#onHost = { dense: own.dense, denseShare: own.dense, pooled: own.pooled, allPooled: pooledGradients };
    } else {
      const dense = host.allocate(own.dense.words, "dense gradients");
      const { first, words } = shareOf(dense.words, node.rank, node.size);
      const pooled = host.view(hostGradients, own.firstSample * own.sampleWords, own.pooled.words);
      this.#onHost = { dense, denseShare: host.view(dense, first, words), pooled, allPooled: hostGradients };
    }
  }

  /**
   * Binds a slot. The returned function scales the gradients of a step down if their norm is too large. It expects
   * dense gradients that are summed over all ranks, and gradients of pooled rows that all ranks of the node can read.
   * It throws HotsetError on all ranks if the norm is not finite.
   */
  bind(slot: BatchSlot): (samples: number) => void {
    const { host, device, shape: { dim, optimizer }, groups } = this.#context;
    const { node } = groups;
    const { header, segments, segmentBags, segmentWeights } = lookupViews(this.#context, host, slot.hostBlock);
    const rows = { dim, optimizer, rank: node.rank, ranks: node.size };
    const { dense, denseShare, pooled, allPooled } = this.#onHost;
    const { sampleWords } = this.#own;
    const isCopy = dense !== this.#own.dense;
    return (samples) => {
      if (isCopy) this.#download(samples);
      this.#squares[node.rank] = host.squares(denseShare.words, denseShare) +
        host.rowSquares(rows, header, segments, segmentBags, allPooled, segmentWeights);
      nodeBarrier(groups, device);
      const factor = this.#maxNorm / (this.#norm(slot) + EPSILON);
      if (factor >= 1) return;
      host.scale(dense.words, factor, dense);
      host.scale(samples * sampleWords, factor, pooled);
      if (isCopy) this.#upload(samples);
      nodeBarrier(groups, device);
    };
  }

  /** Copies the gradients of this rank's device to the host, and waits until all ranks have done the same. */
  #download(samples: number): void {
    const { host, device, groups } = this.#context;
    const { dense, pooled } = this.#onHost;
    device.download(this.#own.dense, host.floats(dense));
    device.download(this.#own.pooled, host.floats(pooled).subarray(0, samples * this.#own.sampleWords));
    nodeBarrier(groups, device);
  }

  /** Copies the gradients back to the device. */
  #upload(samples: number): void {
    const { host, device } = this.#context;
    const { dense, pooled } = this.#onHost;
    device.upload(host.floats(dense), this.#own.dense);
    device.upload(host.floats(pooled).subarray(0, samples * this.#own.sampleWords), this.#own.pooled);
  }

  #norm({ batch }: BatchSlot): number {
    let sum = 0;
    for (let rank = 0; rank < this.#squares.length; rank++) sum += this.#squares[rank];
    if (Number.isFinite(sum)) return Math.sqrt(sum);
    throw new HotsetError(faultMessage({ what: "gradient norm", step: batch.words[Header.step] }));
  }
}
