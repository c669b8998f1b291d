/**
 * Gradient clipping by norm: `torch.nn.utils.clip_grad_norm_` over all parameters, where the gradient of a table is the
 * coalesced sparse one (a row that a batch looks up several times counts once, with the sum of its gradients). The norm is
 * that of the whole batch, whichever rank computes which samples.
 */
import { type Buffer, Header, type HostBackend } from "../backend/backend.ts";
import { type BatchPlace, lookupViews, type TableContext } from "../embedding/tables.ts";
import { HotsetError } from "../errors.ts";
import { nodeBarrier } from "../parallel/node_barrier.ts";
import { faultMessage } from "./step_fault.ts";

/** Added to the norm that gradients are divided by, as in PyTorch. */
const EPSILON = 1e-6;

/** What ranks of a node need to clip: gradients lie in host memory that they share. */
export interface ClipMemory<B = Buffer> {
  /** The largest norm of a step's gradients. */
  readonly maxNorm: number;
  /** Each rank's part of the sum of squares: doubles, one a rank of the node; shared. */
  readonly squares: B;
}

/** The gradients that one rank has a part in. */
export interface OwnGradients {
  /** This rank's share of the dense gradients of the batch, and its words. */
  readonly dense: Buffer;
  readonly denseWords: number;
  /** Gradients of the pooled rows of this rank's samples, (samples, sampleWords); views of the context's. */
  readonly pooled: Buffer;
  readonly sampleWords: number;
}

/** One rank's part in the clipping. */
export class GradientClip {
  readonly #context: TableContext;
  readonly #host: HostBackend;
  readonly #own: OwnGradients;
  readonly #maxNorm: number;
  readonly #squares: Float64Array;

  constructor(context: TableContext, own: OwnGradients, { maxNorm, squares }: ClipMemory) {
    this.#context = context;
    this.#host = context.host;
    this.#own = own;
    this.#maxNorm = maxNorm;
    const { buffer, byteOffset, byteLength } = context.host.floats(squares);
    this.#squares = new Float64Array(buffer, byteOffset, byteLength / 8);
  }

  /**
   * Binds a place for batches. The function scales the gradients of a step down if their norm is too large; dense gradients
   * are those of the batch, and those of pooled rows are visible to all ranks. Throws HotsetError, on all ranks alike, if
   * the norm is not finite.
   */
  bind(place: BatchPlace): (samples: number) => void {
    const host = this.#host;
    const { shape: { dim, optimizer }, groups, pooledGradients } = this.#context;
    const { node } = groups;
    const { header, segments, segmentBags } = lookupViews(this.#context, host, place.hostBlock);
    const rows = { dim, optimizer, rank: node.rank, ranks: node.size };
    const { dense, denseWords, pooled, sampleWords } = this.#own;
    return (samples) => {
      this.#squares[node.rank] = host.squares(denseWords, dense) +
        host.rowSquares(rows, header, segments, segmentBags, pooledGradients);
      nodeBarrier(groups, host);
      const factor = this.#maxNorm / (this.#norm(place) + EPSILON);
      if (factor >= 1) return;
      host.scale(denseWords, factor, dense);
      host.scale(samples * sampleWords, factor, pooled);
      nodeBarrier(groups, host);
    };
  }

  #norm({ batch }: BatchPlace): number {
    let sum = 0;
    for (let rank = 0; rank < this.#squares.length; rank++) sum += this.#squares[rank];
    if (Number.isFinite(sum)) return Math.sqrt(sum);
    throw new HotsetError(faultMessage({ what: "gradient norm", step: batch.words[Header.step] }));
  }
}
