/**
 * Tables larger than the memory of a device: a matrix on the device caches the rows in use, and host memory has all
 * rows, or caches them from a disk. A look-ahead plan decides which rows are fetched and evicted; they are copied while
 * steps compute, and the host waits only for the copy before. Kernels see one matrix and positions in it, so a step is the
 * same operations for every batch, and the result is bit for bit that of tables on the device.
 */
import type { Backend, Buffer, DeviceBackend, Download } from "../backend/backend.ts";
import type { Batch } from "../layout/batch.ts";
import { rowStateWords } from "../optimizer/optimizers.ts";
import type { CacheCounts } from "./cached.ts";
import { ScoredRows, setPositions } from "./cached_batch.ts";
import { RowList } from "./host.ts";
import { LookAheadPlan, type StepMoves } from "./plan.ts";
import { type HostRows, matricesOf, type RowMatrix, type TableContext } from "./tables.ts";

/** Sizes of the cache. */
export interface DeviceCacheSizes {
  /** Positions of the matrix for rows in training; those after them are for rows that are only read. */
  readonly slots: number;
  /** Maximum number of distinct rows of a batch in training. */
  readonly batchRows: number;
  /** Batches announced ahead of the one in training; default DEVICE_LOOK_AHEAD. */
  readonly lookAhead?: number;
}

/** Without a disk the host and the copies are one step ahead of the device. */
export const DEVICE_LOOK_AHEAD = 1;

/** All rows in host memory. */
export class AllRows implements HostRows {
  readonly matrix: RowMatrix;

  /** The matrix has a row for each row of the tables. */
  constructor(matrix: RowMatrix) {
    this.matrix = matrix;
  }

  announceGroup(): void {}

  locateGroup(rows: Uint32Array, count: number, positions: Uint32Array): void {
    for (let i = 0; i < count; i++) positions[i] = rows[i];
  }

  finishGroup(): void {}
}

/** Rows to copy from the matrix, and then rows to copy to it. */
class Moves {
  written = 0;
  fetched = 0;
  /** The written rows, then the fetched ones, and their positions in the matrix. */
  readonly rows: Uint32Array;
  readonly positions: Uint32Array;

  /** Copies at most this number of rows in each direction. */
  constructor(batchRows: number) {
    this.rows = new Uint32Array(2 * batchRows);
    this.positions = new Uint32Array(2 * batchRows);
  }

  /** Number of rows. */
  get count(): number {
    return this.written + this.fetched;
  }

  /** Copies a step of a plan. */
  set({ written, writtenRows, writtenPositions, fetched, fetchedRows, fetchedPositions }: StepMoves): void {
    this.written = written;
    this.fetched = fetched;
    for (let i = 0; i < written; i++) {
      this.rows[i] = writtenRows[i];
      this.positions[i] = writtenPositions[i];
    }
    for (let i = 0, at = written; i < fetched; i++, at++) {
      this.rows[at] = fetchedRows[i];
      this.positions[at] = fetchedPositions[i];
    }
  }
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
  readonly #tables: HostRows;
  readonly #sizes: DeviceCacheSizes;
  readonly #rowWords: number;
  #plan: LookAheadPlan;
  readonly #scored: ScoredRows;
  /** Number of rows whose copy to the host is under way. */
  #leavingCount = 0;
  /** Planned moves by the number of their step modulo the length, and numbers of steps whose moves have begun. */
  readonly #moves: readonly Moves[];
  #planned = 0;
  #begun = 0;
  #finished = 0;
  /** Rows that are moved outside the plan. */
  readonly #own: Moves;
  /** Positions in host memory of the rows that are moved. */
  readonly #places: Uint32Array;

  /** `matrix` is on the device and has `slots` rows and one for each lookup of a batch. */
  constructor(
    context: CacheContext & Pick<TableContext, "batchShape">,
    matrix: RowMatrix,
    tables: HostRows,
    sizes: DeviceCacheSizes,
  ) {
    const { shape: { dim, optimizer }, batchShape: { lookupCapacity } } = context;
    const { batchRows, lookAhead = DEVICE_LOOK_AHEAD } = sizes;
    this.#context = context;
    this.#memory = allocateDeviceCache(context, sizes);
    this.#matrix = matrix;
    this.#tables = tables;
    this.#sizes = sizes;
    this.#rowWords = dim + rowStateWords(optimizer, dim);
    this.#plan = newPlan(sizes);
    this.#scored = new ScoredRows(lookupCapacity);
    this.#moves = Array.from({ length: lookAhead + 1 }, () => new Moves(batchRows));
    this.#own = new Moves(batchRows);
    this.#places = new Uint32Array(2 * batchRows);
  }

  /** Forgets all cached rows: those in host memory are replaced. */
  clear(): void {
    this.#expectIdle();
    this.#arriveOnHost();
    this.#plan = newPlan(this.#sizes);
  }

  /** Copies all changed rows to host memory. */
  flush(): void {
    this.#expectIdle();
    const moves = this.#own;
    moves.written = moves.fetched = 0;
    this.#plan.clean((row, position) => {
      moves.rows[moves.written] = row;
      moves.positions[moves.written++] = position;
      if (moves.written < this.#sizes.batchRows) return;
      this.#moveNow(moves);
      moves.written = 0;
    });
    this.#moveNow(moves);
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
    this.#finished++;
    this.#advance();
  }

  /** Fetches the rows of a batch that is only scored, without evicting any, and sets their positions in it. */
  prepareToScore({ words, sections: { indices }, lookups }: Batch): void {
    this.#expectIdle();
    const moves = this.#own;
    const list = moves.rows.subarray(0, this.#sizes.batchRows);
    this.#scored.locate(words, indices, lookups, this.#plan, () => list, (fetched, first) => {
      moves.written = 0;
      moves.fetched = fetched;
      for (let i = 0; i < fetched; i++) moves.positions[i] = first + i;
      this.#moveNow(moves);
    });
  }

  /** The row at a position of the matrix; -1 if there is none in training. */
  rowAt(position: number): number {
    return this.#plan.rowAt(position);
  }

  /** Plans steps for which there is space, and begins to move the rows of the next step and of the one after it. */
  #advance(): void {
    for (let planned = this.#plan.next(); planned !== undefined; planned = this.#plan.next()) {
      const moves = this.#moves[this.#planned++ % this.#moves.length];
      moves.set(planned);
      if (moves.count > 0) this.#tables.announceGroup(moves.rows, moves.count, moves.written);
      this.counts.fetched += moves.fetched;
      this.counts.written += moves.written;
    }
    while (this.#begun < this.#planned && this.#begun <= this.#finished + 1) {
      this.#move(this.#moves[this.#begun++ % this.#moves.length]);
    }
  }

  /** Announces and moves rows. */
  #moveNow(moves: Moves): void {
    if (moves.count > 0) this.#tables.announceGroup(moves.rows, moves.count, moves.written);
    this.#move(moves);
  }

  /** Queues copies of announced rows from the matrix, and then to it. */
  #move({ written, fetched, count, rows, positions }: Moves): void {
    if (count === 0) return;
    this.#arriveOnHost(); // one of these rows may be fetched now, and the memory is used again
    const { device, host, shape } = this.#context;
    const { incoming, outgoing, download, fetched: list, leaving } = this.#memory;
    const places = this.#places;
    this.#tables.locateGroup(rows, count, places);
    const { buffer, byteOffset, length } = host.floats(incoming.host);
    const words = new Uint32Array(buffer, byteOffset, length);
    const to = aligned(written), weights = to + aligned(fetched);
    words.set(positions.subarray(0, written));
    words.set(positions.subarray(written, count), to);
    list.set(places.subarray(written, count));
    let end = weights;
    for (const { buffer, width } of matricesOf(shape, this.#tables.matrix)) {
      const packed = host.view(incoming.host, end, fetched * width);
      host.packRows(fetched, width, buffer, list.buffer, packed);
      end += fetched * width;
    }
    device.upload(words.subarray(0, end), incoming.device);
    if (written > 0) {
      const from = device.view(incoming.device, 0, written);
      let at = 0;
      for (const { buffer, width } of matricesOf(shape, this.#matrix)) {
        device.packRows(written, width, buffer, from, device.view(outgoing.device, at, written * width));
        at += written * width;
      }
      download.begin(outgoing.device, at);
      leaving.set(places.subarray(0, written));
      this.#leavingCount = written;
    } else {
      this.#tables.finishGroup();
    }
    if (fetched === 0) return;
    const into = device.view(incoming.device, to, fetched);
    let at = weights;
    for (const { buffer, width } of matricesOf(shape, this.#matrix)) {
      device.unpackRows(fetched, width, device.view(incoming.device, at, fetched * width), into, buffer);
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
    for (const { buffer, width } of matricesOf(shape, this.#tables.matrix)) {
      const packed = host.view(outgoing.host, at, count * width);
      host.unpackRows(count, width, packed, leaving.buffer, buffer);
      at += count * width;
    }
    this.#tables.finishGroup();
    this.#leavingCount = 0;
  }

  #expectIdle(): void {
    if (this.#plan.announced > 0) throw new Error("rows are read while a step is announced");
  }
}

/** Words of a list, so that what follows it is aligned to 16 bytes. */
function aligned(words: number): number {
  return Math.ceil(words / 4) * 4;
}

function newPlan({ slots, batchRows, lookAhead = DEVICE_LOOK_AHEAD }: DeviceCacheSizes): LookAheadPlan {
  return new LookAheadPlan({ resident: NO_ROWS, slots, batchRows, lookAhead });
}
