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

/** Pooled rows of this rank's samples and their gradients, in host memory and on the device. */
interface Transfer {
  readonly context: TableContext;
  /** Words of the pooled rows of a sample. */
  readonly sampleWords: number;
  readonly pooled: Buffer;
  readonly hostGradients: Buffer;
  readonly deviceGradients: Buffer;
}

/** Copies pooled rows from tables in host memory to the device. */
export class TransferredTables implements EmbeddingTables {
  readonly rows: TableRows;
  readonly #tables: EmbeddingTables;
  readonly #transfer: Transfer;

  /**
   * `hostGradients` has space for the gradients of pooled rows of a whole batch; the ranks of a host share it. `open`
   * opens the tables for a rank that computes on the host.
   */
  constructor(context: TableContext, hostGradients: Buffer, open: (onHost: TableContext) => EmbeddingTables) {
    const { host, device, shape, batchShape, pooledGradients } = context;
    const sampleWords = batchShape.tables * shape.dim;
    const { first, count } = ownSamples(context);
    const own = [first * sampleWords, count * sampleWords] as const;
    this.#transfer = {
      context,
      sampleWords,
      pooled: host.allocate(own[1], "pooled rows"),
      hostGradients: host.view(hostGradients, ...own),
      deviceGradients: device.view(pooledGradients, ...own),
    };
    this.#tables = open({ ...context, device: host, pooledGradients: hostGradients });
    this.rows = this.#tables.rows;
  }

  bind(slot: BatchSlot): BoundTables {
    return new BoundTransferredTables(this.#tables.bind(slot), this.#transfer);
  }
}

class BoundTransferredTables implements BoundTables, TableLookups {
  readonly recordable = false;
  readonly #bound: BoundTables;
  readonly #transfer: Transfer;
  #lookups: TableLookups | undefined;

  constructor(bound: BoundTables, transfer: Transfer) {
    this.#bound = bound;
    this.#transfer = transfer;
  }

  get deviceWords(): number {
    return this.#lookups!.deviceWords;
  }

  get shared(): boolean {
    return this.#lookups!.shared;
  }

  prefetch(): void {
    this.#bound.prefetch?.();
  }

  prepare(training: boolean): TableLookups {
    this.#lookups = this.#bound.prepare(training);
    return this;
  }

  pool(samples: number, pooled: Buffer): void {
    const { context: { host, device }, sampleWords, pooled: onHost } = this.#transfer;
    this.#lookups!.pool(samples, onHost);
    device.upload(host.floats(onHost).subarray(0, samples * sampleWords), pooled);
  }

  update(samples: number): void {
    const { context: { host, device, groups }, sampleWords, hostGradients, deviceGradients } = this.#transfer;
    device.download(deviceGradients, host.floats(hostGradients).subarray(0, samples * sampleWords));
    nodeBarrier(groups, device); // waits for the gradients of the other ranks
    this.#lookups!.update(samples);
  }
}
