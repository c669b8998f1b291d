/**
 * Copies rows between host memory and the matrix of one device, which caches them. Several devices cache the same rows
 * at the same positions and apply the same updates. Each of them fetches all missing rows, and writes back its part of the
 * evicted ones.
 */
import type { Backend, Buffer, DeviceBackend, Download } from "../backend/backend.ts";
import { rowWords } from "../optimizer/optimizers.ts";
import { ownPart, type ProcessGroup } from "../parallel/process_group.ts";
import { RowList } from "./host.ts";
import type { RowMoves } from "./row_moves.ts";
import { matricesOf, type RowMatrix, type TableContext } from "./tables.ts";

/** What a mover works with: a device that copies to the host while it computes, and the ranks that share host memory. */
export type MoverContext = Pick<TableContext, "host" | "shape"> & {
  readonly device: Backend & Pick<DeviceBackend, "newDownload">;
  readonly node: Pick<ProcessGroup, "rank" | "size" | "barrier">;
};

/** The same memory on the host and on the device. */
interface Staging {
  readonly host: Buffer;
  readonly device: Buffer;
}

/** Copies the rows of one device. */
export class RowMover {
  readonly #context: MoverContext;
  readonly #matrix: RowMatrix;
  readonly #tables: RowMatrix;
  readonly #moves: readonly RowMoves[];
  readonly #rowWords: number;
  /** Positions to copy from and to, then fetched weights and state. One upload. */
  readonly #incoming: Staging;
  /** Evicted weights, then their state. */
  readonly #outgoing: Staging;
  readonly #download: Download;
  readonly #fetched: RowList;
  /** Rows whose copy to the host is under way. */
  readonly #leaving: RowList;
  /** Their number; undefined if no rank copies any. */
  #leavingCount: number | undefined;

  /** Copies at most `batchRows` rows in each direction between the matrix, on the device, and tables in host memory. */
  constructor(
    context: MoverContext,
    matrix: RowMatrix,
    tables: RowMatrix,
    moves: readonly RowMoves[],
    batchRows: number,
  ) {
    const { device, host, shape } = context;
    this.#context = context;
    this.#matrix = matrix;
    this.#tables = tables;
    this.#moves = moves;
    this.#rowWords = rowWords(shape);
    const words = batchRows * this.#rowWords;
    const both = (words: number) => ({
      host: host.allocate(words, "rows to move"),
      device: device.allocate(words, "rows to move"),
    });
    this.#incoming = both(2 * aligned(batchRows) + words);
    this.#outgoing = both(words);
    this.#download = device.newDownload(words);
    this.#fetched = new RowList(host, batchRows);
    this.#leaving = new RowList(host, batchRows);
  }

  /**
   * Queues copies of rows from the matrix, and then to it; the rows that left it before are in host memory afterwards. All
   * ranks do the same.
   */
  move(number: number): void {
    const { written, fetched, count, rows, positions } = this.#moves[number];
    this.#arrive(); // one of these rows may be fetched now, and the memory is used again
    if (count === 0) return;
    const { device, host, shape, node } = this.#context;
    const incoming = this.#incoming;
    const { first, end } = ownPart(node, written);
    const words = host.integers(incoming.host);
    const to = aligned(end - first), weights = to + aligned(fetched);
    words.set(positions.subarray(first, end));
    words.set(positions.subarray(written, count), to);
    this.#fetched.set(rows.subarray(written, count));
    let used = weights;
    for (const { buffer, width } of matricesOf(shape, this.#tables)) {
      const packed = host.view(incoming.host, used, fetched * width);
      host.packRows(fetched, width, buffer, this.#fetched.buffer, packed);
      used += fetched * width;
    }
    device.upload(words.subarray(0, used), incoming.device);
    if (written > 0) this.#leave(rows.subarray(first, end));
    if (fetched === 0) return;
    const into = device.view(incoming.device, to, fetched);
    let at = weights;
    for (const { buffer, width } of matricesOf(shape, this.#matrix)) {
      device.unpackRows(fetched, width, device.view(incoming.device, at, fetched * width), into, buffer);
      at += fetched * width;
    }
  }

  /** Begins to copy this rank's part of the evicted rows, the positions of which have been uploaded, to the host. */
  #leave(rows: Uint32Array): void {
    const { device, shape } = this.#context;
    const { length } = rows;
    let at = 0;
    if (length > 0) {
      const from = device.view(this.#incoming.device, 0, length);
      for (const { buffer, width } of matricesOf(shape, this.#matrix)) {
        device.packRows(length, width, buffer, from, device.view(this.#outgoing.device, at, length * width));
        at += length * width;
      }
    }
    this.#download.begin(this.#outgoing.device, at);
    this.#leaving.set(rows);
    this.#leavingCount = length;
  }

  /** Waits for the rows that are under way to host memory, on all ranks, and puts them into the tables. */
  #arrive(): void {
    const count = this.#leavingCount;
    if (count === undefined) return;
    const { host, shape, node } = this.#context;
    const outgoing = this.#outgoing;
    // Also without rows: a device that exchanges gradients with others must not wait for a rank that is at the barrier.
    const words = this.#download.wait().subarray(0, count * this.#rowWords);
    host.floats(outgoing.host).set(words);
    let at = 0;
    for (const { buffer, width } of matricesOf(shape, this.#tables)) {
      host.unpackRows(count, width, host.view(outgoing.host, at, count * width), this.#leaving.buffer, buffer);
      at += count * width;
    }
    this.#leavingCount = undefined;
    node.barrier(); // any rank may fetch these rows now
  }
}

/** Words of a list, so that what follows it is aligned to 16 bytes. */
function aligned(words: number): number {
  return Math.ceil(words / 4) * 4;
}
