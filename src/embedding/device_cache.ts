/**
 * Tables larger than the memory of a device: a matrix on the device caches the rows in use, and host memory has all
 * rows. A look-ahead plan decides which rows are fetched and evicted; they are copied while steps compute, and the host
 * waits only for the copy before. Kernels see one matrix and positions in it, so a step is the same operations for every
 * batch, and the result is bit for bit that of tables on the device.
 */
import type { Backend, Buffer, DeviceBackend, Download } from "../backend/backend.ts";
import type { Batch } from "../layout/batch.ts";
import { rowStateWords } from "../optimizer/optimizers.ts";
import type { CacheCounts } from "./cached.ts";
import { ScoredBatch, setPositions } from "./cached_batch.ts";
import { RowList } from "./host.ts";
import { LookAheadPlan } from "./plan.ts";
import { matricesOf, type RowMatrix, type TableContext } from "./tables.ts";

/** Sizes of the cache. */
export interface DeviceCacheSizes {
  /** Positions of the matrix for rows in training; those after them are for rows that are only read. */
  readonly slots: number;
  /** Maximum number of distinct rows of a batch in training. */
  readonly batchRows: number;
}

/** Batches announced ahead of the one in training: the host and the copies are one step ahead of the device. */
export const DEVICE_LOOK_AHEAD = 1;

/** Rows to copy from the matrix, and to it; only the first entries are valid. */
interface Moves {
  readonly written: number;
  readonly writtenRows: Uint32Array;
  readonly writtenPositions: Uint32Array;
  readonly fetched: number;
  readonly fetchedRows: Uint32Array;
  readonly fetchedPositions: Uint32Array;
}

const NO_ROWS = new Uint32Array(0);

/** A device that copies to the host while it computes. */
type CachingDevice = Backend & Pick<DeviceBackend, "newDownload">;
/** What a cache works with. */
type CacheContext = Pick<TableContext, "host" | "shape"> & { readonly device: CachingDevice };

/** Memory of a cache besides the matrix. */
export interface DeviceCacheMemory {
  /** On the host and on the device: positions to copy from and to, then fetched weights and state. One upload. */
  readonly incoming: { readonly host: Buffer; readonly device: Buffer };
  /** Evicted weights, then their state. */
  readonly outgoing: { readonly host: Buffer; readonly device: Buffer };
  readonly download: Download;
  readonly fetched: RowList;
  /** Rows whose copy to the host is under way. */
  readonly leaving: RowList;
}

/** Allocates the memory of a cache besides its matrix. */
export function allocateDeviceCache(
  { device, host, shape: { dim, optimizer } }: CacheContext,
  { batchRows }: DeviceCacheSizes,
): DeviceCacheMemory {
  const words = batchRows * (dim + rowStateWords(optimizer, dim));
  const both = (words: number) => ({
    host: host.allocate(words, "rows to move"),
    device: device.allocate(words, "rows to move"),
  });
  return {
    incoming: both(2 * aligned(batchRows) + words),
    outgoing: both(words),
    download: device.newDownload(words),
    fetched: new RowList(host, batchRows),
    leaving: new RowList(host, batchRows),
  };
}

/** Rows cached in a matrix on a device. Used by the thread that queues its operations. */
export class DeviceCache {
  readonly counts: CacheCounts = { rows: 0, fetched: 0, written: 0 };
  readonly #context: CacheContext;
  readonly #memory: DeviceCacheMemory;
  readonly #matrix: RowMatrix;
  readonly #tables: RowMatrix;
  readonly #sizes: DeviceCacheSizes;
  readonly #rowWords: number;
  #plan: LookAheadPlan;
  readonly #scored: ScoredBatch;
  /** Number of rows whose copy to the host is under way. */
  #leavingCount = 0;
  /** Lists for rows that are moved outside the plan. */
  readonly #rows: Uint32Array;
  readonly #positions: Uint32Array;

  /** `matrix` is on the device and has `slots` rows and one for each lookup of a batch; `tables` are in host memory. */
  constructor(
    context: CacheContext & Pick<TableContext, "batchShape">,
    matrix: RowMatrix,
    tables: RowMatrix,
    sizes: DeviceCacheSizes,
  ) {
    const { shape: { dim, optimizer }, batchShape: { lookupCapacity } } = context;
    const { batchRows } = sizes;
    this.#context = context;
    this.#memory = allocateDeviceCache(context, sizes);
    this.#matrix = matrix;
    this.#tables = tables;
    this.#sizes = sizes;
    this.#rowWords = dim + rowStateWords(optimizer, dim);
    this.#plan = newPlan(sizes);
    this.#scored = new ScoredBatch(lookupCapacity);
    this.#rows = new Uint32Array(batchRows);
    this.#positions = new Uint32Array(batchRows);
  }

  /** Forgets all cached rows: those in host memory have been replaced. */
  clear(): void {
    this.#expectIdle();
    if (this.#leavingCount > 0) this.#memory.download.wait();
    this.#leavingCount = 0;
    this.#plan = newPlan(this.#sizes);
  }

  /** Copies all changed rows to host memory. */
  flush(): void {
    this.#expectIdle();
    const [writtenRows, writtenPositions] = [this.#rows, this.#positions];
    let written = 0;
    const move = () => this.#move({ written, writtenRows, writtenPositions, ...NOTHING_FETCHED });
    this.#plan.clean((row, position) => {
      writtenRows[written] = row;
      writtenPositions[written++] = position;
      if (written < writtenRows.length) return;
      move();
      written = 0;
    });
    move();
    this.#arriveOnHost();
  }

  /** Announces a batch that will be trained after those before, and begins to fetch its rows if there is space. */
  announce({ words, sections: { segments }, distinct }: Batch): void {
    this.#plan.announce(words, segments, 2, distinct);
    this.#advance();
  }

  /** Sets the positions of the batch that is trained next; its rows are there before any operation that is queued now. */
  prepareToTrain(batch: Batch): void {
    if (this.#plan.announced === 0) this.announce(batch);
    setPositions(this.#plan, 0, batch);
    this.counts.rows += batch.distinct;
  }

  /** Ends the step over the batch, all operations of which are queued. */
  finish(): void {
    this.#plan.finish();
    this.#advance();
  }

  /** Fetches the rows of a batch that is only scored, without evicting any, and sets their positions in it. */
  prepareToScore(batch: Batch): void {
    this.#expectIdle();
    this.#scored.set(batch, this.#plan, () => this.#rows, (fetched, first) => {
      for (let i = 0; i < fetched; i++) this.#positions[i] = first + i;
      this.#move({ ...NOTHING_WRITTEN, fetched, fetchedRows: this.#rows, fetchedPositions: this.#positions });
    });
  }

  /** The row at a position of the matrix; -1 if there is none in training. */
  rowAt(position: number): number {
    return this.#plan.rowAt(position);
  }

  /** Begins all copies for which there is space. */
  #advance(): void {
    for (let moves = this.#plan.next(); moves !== undefined; moves = this.#plan.next()) {
      this.#move(moves);
      this.counts.fetched += moves.fetched;
      this.counts.written += moves.written;
    }
  }

  /** Queues copies of rows from the matrix, and then to it. */
  #move({ written, writtenRows, writtenPositions, fetched, fetchedRows, fetchedPositions }: Moves): void {
    if (written === 0 && fetched === 0) return;
    this.#arriveOnHost(); // one of these rows may be fetched now, and the memory is used again
    const { device, host, shape } = this.#context;
    const { incoming, outgoing, download, fetched: list, leaving } = this.#memory;
    const { buffer, byteOffset, length } = host.floats(incoming.host);
    const words = new Uint32Array(buffer, byteOffset, length);
    const to = aligned(written), weights = to + aligned(fetched);
    words.set(writtenPositions.subarray(0, written));
    words.set(fetchedPositions.subarray(0, fetched), to);
    list.set(fetchedRows.subarray(0, fetched));
    let end = weights;
    for (const { buffer, width } of matricesOf(shape, this.#tables)) {
      const packed = host.view(incoming.host, end, fetched * width);
      host.packRows(fetched, width, buffer, list.buffer, packed);
      end += fetched * width;
    }
    device.upload(words.subarray(0, end), incoming.device);
    if (written > 0) {
      const positions = device.view(incoming.device, 0, written);
      let at = 0;
      for (const { buffer, width } of matricesOf(shape, this.#matrix)) {
        device.packRows(written, width, buffer, positions, device.view(outgoing.device, at, written * width));
        at += written * width;
      }
      download.begin(outgoing.device, at);
      leaving.set(writtenRows.subarray(0, written));
      this.#leavingCount = written;
    }
    if (fetched === 0) return;
    const positions = device.view(incoming.device, to, fetched);
    let at = weights;
    for (const { buffer, width } of matricesOf(shape, this.#matrix)) {
      device.unpackRows(fetched, width, device.view(incoming.device, at, fetched * width), positions, buffer);
      at += fetched * width;
    }
  }

  /** Waits for the rows that are under way to host memory, and puts them into the tables. */
  #arriveOnHost(): void {
    const count = this.#leavingCount;
    if (count === 0) return;
    const { host, shape } = this.#context;
    const { outgoing, download, leaving } = this.#memory;
    const words = count * this.#rowWords;
    host.floats(outgoing.host).set(download.wait().subarray(0, words));
    let at = 0;
    for (const { buffer, width } of matricesOf(shape, this.#tables)) {
      const packed = host.view(outgoing.host, at, count * width);
      host.unpackRows(count, width, packed, leaving.buffer, buffer);
      at += count * width;
    }
    this.#leavingCount = 0;
  }

  #expectIdle(): void {
    if (this.#plan.announced > 0) throw new Error("rows are read while a step is announced");
  }
}

const NOTHING_FETCHED = { fetched: 0, fetchedRows: NO_ROWS, fetchedPositions: NO_ROWS };
const NOTHING_WRITTEN = { written: 0, writtenRows: NO_ROWS, writtenPositions: NO_ROWS };

/** Words of a list, so that what follows it is aligned to 16 bytes. */
function aligned(words: number): number {
  return Math.ceil(words / 4) * 4;
}

function newPlan({ slots, batchRows }: DeviceCacheSizes): LookAheadPlan {
  return new LookAheadPlan({ resident: NO_ROWS, slots, batchRows, lookAhead: DEVICE_LOOK_AHEAD });
}
