/** Tables in host memory for a rank that computes on a device: only pooled rows and their gradients are copied. */
import { nodeBarrier } from "../parallel/node_barrier.ts";
import type { Buffer } from "../backend/backend.ts";
import {
  type BatchSlot,
  type BoundTables,
  type EmbeddingTables,
  ownSamples,
  type TableContext,
  type TableLookups,
  type TableRows,
} from "./tables.ts";

/** Copies pooled rows from tables in host memory to the device. */
export class TransferredTables implements EmbeddingTables {
  readonly rows: TableRows;
  readonly #context: TableContext;
  readonly #tables: EmbeddingTables;
  /** Words of the pooled rows of a sample. */
  readonly #sampleWords: number;
  /** Pooled rows of this rank's samples, and their gradients, in host memory and on the device. */
  readonly #pooled: Buffer;
  readonly #hostGradients: Buffer;
  readonly #deviceGradients: Buffer;

  /**
   * `hostGradients` has space for the gradients of pooled rows of a whole batch; the ranks of a host share it. `open`
   * opens the tables for a rank that computes on the host.
   */
  constructor(context: TableContext, hostGradients: Buffer, open: (onHost: TableContext) => EmbeddingTables) {
    const { host, device, shape, batchShape, pooledGradients } = context;
    this.#context = context;
    this.#sampleWords = batchShape.tables * shape.dim;
    const { first, count } = ownSamples(context);
    const own = [first * this.#sampleWords, count * this.#sampleWords] as const;
    this.#pooled = host.allocate(own[1], "pooled rows");
    this.#hostGradients = host.view(hostGradients, ...own);
    this.#deviceGradients = device.view(pooledGradients, ...own);
    this.#tables = open({ ...context, device: host, pooledGradients: hostGradients });
    this.rows = this.#tables.rows;
  }

  bind(slot: BatchSlot): BoundTables {
    const bound = this.#tables.bind(slot);
    let onHost: TableLookups | undefined;
    const lookups: TableLookups = {
      recordable: false,
      get deviceWords() {
        return onHost!.deviceWords;
      },
      get shared() {
        return onHost!.shared;
      },
      pool: (samples, pooled) => this.#pool(onHost!, samples, pooled),
      update: (samples) => this.#update(onHost!, samples),
    };
    return {
      prefetch: () => bound.prefetch?.(),
      prepare(training) {
        onHost = bound.prepare(training);
        return lookups;
      },
    };
  }

  #pool(onHost: TableLookups, samples: number, pooled: Buffer): void {
    const { host, device } = this.#context;
    onHost.pool(samples, this.#pooled);
    device.upload(host.floats(this.#pooled).subarray(0, samples * this.#sampleWords), pooled);
  }

  #update(onHost: TableLookups, samples: number): void {
    const { host, device, groups } = this.#context;
    device.download(this.#deviceGradients, host.floats(this.#hostGradients).subarray(0, samples * this.#sampleWords));
    nodeBarrier(groups, device); // waits for the gradients of the other ranks
    onHost.update(samples);
  }
}
