/** Ranks whose tables may exceed memory: rows are cached in memory and stored on disk. */
import { join } from "node:path";
import { CachedTables, type RowCache, type StoredRows } from "../embedding/cached.ts";
import type { MovedRows, ProgressEvent } from "../events/events.ts";
import { InitialRows } from "../embedding/initialise.ts";
import { NotFiniteRow } from "../embedding/stores/row_log.ts";
import { type SavedRows, segmentFile } from "../embedding/stores/log_segments.ts";
import { allocateRowBlock, matricesOf, type RowBlock, ROWS_AT_ONCE } from "../embedding/tables.ts";
import { type Checkpoint, CHECKPOINT_FILES, type CheckpointBody, writeDense } from "../checkpoint/checkpoint.ts";
import { type CheckpointPlaces, storeCheckpoint } from "../checkpoint/checkpoint_store.ts";
import { NotFinite, placeOfWord } from "../checkpoint/weights.ts";
import { Command } from "./rank.ts";
import { LocalRank, RankGroup } from "./rank_group.ts";

/** Files of a checkpoint for the matrices of rows. */
const FILES = { weights: CHECKPOINT_FILES.rows, state: CHECKPOINT_FILES.rowState } as const;

/** Counters of a run that begins. */
const NOTHING = { rows: 0, fetched: 0, read: 0, waitSeconds: 0 } as const;

/**
 * Ranks with rows on disk. This thread moves rows and sets their positions in each batch before the ranks get it, so
 * that they train on a matrix in host memory like any other. Of several processes, which share the matrix, the first
 * moves rows; the plan is a function of the batches, so all set the same positions.
 */
export class CachedRanks extends RankGroup {
  readonly ranks: number;
  readonly device: string;
  readonly #ranks: RankGroup;
  readonly #cache: RowCache;
  readonly #owned: Disposable;
  readonly #cached: StoredRows;
  readonly #block: RowBlock;
  /** Number of steps that may still run when `send` returns; this thread moves rows for the next ones meanwhile. */
  readonly #beside: 0 | 1;
  #unfinished = 0;
  /** The counters when `takeMoved` was last called. */
  #taken: MovedRows | undefined;

  /**
   * The full tables of the ranks have one row per position of the cache; `owned` is disposed with the ranks. A device that
   * caches rows of the cache has its own look-ahead, and `rows` of both.
   */
  constructor(
    ranks: RankGroup,
    cache: RowCache,
    owned: Disposable,
    onDevice?: { readonly rows: StoredRows; readonly lookAhead: number },
  ) {
    const beside = ranks instanceof LocalRank ? 0 : 1;
    super(ranks.memory, onDevice?.lookAhead ?? cache.lookAhead - beside);
    const { plan, batchShape, full, host } = ranks.memory;
    this.ranks = ranks.ranks;
    this.device = ranks.device;
    this.#ranks = ranks;
    this.#cache = cache;
    this.#owned = owned;
    this.#beside = beside;
    this.#cached = onDevice?.rows ?? new CachedTables({ shape: plan.shape, batchShape, host }, full, cache);
    this.#block = allocateRowBlock(plan.shape, host);
  }

  protected send(command: Command, a: number, b: number): void {
    this.#named(() => this.#send(command, a, b));
  }

  #send(command: Command, a: number, b: number): void {
    switch (command) {
      case Command.prefetch:
        return this.#cached.announce(this.batches[a]);
      case Command.initialise:
        return this.#cached.initialise(a);
      case Command.train:
        this.#cached.prepareToTrain(this.batches[a]);
        if (this.#beside === 1) this.#ranks.drain(); // waits for the previous step, and other processes for its rows
        this.#ranks.post(command, a, b);
        this.#unfinished++;
        return this.#finishUntil(this.#beside);
      case Command.score:
        this.settle(); // the rows of this batch replace those of the last scored one
        this.#cached.prepareToScore(this.batches[a]);
        this.#ranks.drain(); // other processes wait for the rows
    }
    this.#ranks.post(command, a, b);
  }

  protected settle(): void {
    this.#ranks.drain();
    this.#named(() => this.#finishUntil(0));
  }

  /** Informs the tables about all finished steps except the last `left`. */
  #finishUntil(left: number): void {
    for (; this.#unfinished > left; this.#unfinished--) this.#cached.finish();
  }

  waitForSlot(slot: number): void {
    this.#ranks.waitForSlot(slot);
  }

  override takeActiveUnits(): boolean[] {
    this.drain();
    return this.#ranks.takeActiveUnits();
  }

  override agree(flags: number): number {
    return this.#ranks.agree(flags);
  }

  /** Adds the name of the row that the store refused. */
  #named<T>(work: () => T): T {
    try {
      return work();
    } catch (error) {
      if (!(error instanceof NotFiniteRow)) throw error;
      const { plan } = this.memory;
      const place = placeOfWord(plan, CHECKPOINT_FILES.rows, error.row * plan.shape.dim);
      throw new NotFinite(`${place} or its optimizer state is not finite`);
    }
  }

  override get canReadTables(): boolean {
    return false;
  }

  /** Rows are initialised when they are first used. */
  override get drawnRows(): number {
    return 0;
  }

  override rowAt(position: number): number {
    return this.#cached.rowAt(position);
  }

  override load(checkpoint: Checkpoint, onProgress: (fraction: number) => void = () => {}): void {
    const { plan: { shape } } = this.memory;
    checkpoint.expectModel(shape);
    const { savedRows, body: { seed } } = checkpoint;
    const moves = this.#cache.store !== undefined;
    if (moves) checkpoint.loadDense(this.memory);
    this.drain();
    if (savedRows !== undefined) this.#cached.adopt(savedRows);
    else this.#cached.initialise(seed);
    if (moves && savedRows === undefined) this.#loadRows(checkpoint, onProgress);
    this.drain();
    onProgress(1);
  }

  /** Writes all rows of a checkpoint that differ from their initial values. */
  #loadRows(checkpoint: Checkpoint, onProgress: (fraction: number) => void): void {
    const { plan, host } = this.memory;
    const { shape } = plan;
    const initial = new InitialRows(shape, checkpoint.body.seed);
    const block = {
      weights: host.floats(this.#block.weights),
      state: this.#block.state && host.floats(this.#block.state),
    };
    const matrices = [...matricesOf(shape, this.#block)];
    using readers = new DisposableStack();
    const files = matrices.map(({ name }) => readers.use(checkpoint.reader(FILES[name])));
    const born = new Float32Array(ROWS_AT_ONCE * shape.dim);
    const changed = new Uint32Array(ROWS_AT_ONCE);
    for (let first = 0; first < plan.rows; first += ROWS_AT_ONCE) {
      const rows = Math.min(ROWS_AT_ONCE, plan.rows - first);
      initial.write(first, rows, born, 0);
      for (const [i, { name, width }] of matrices.entries()) {
        files[i].read(first * width, block[name]!.subarray(0, rows * width));
      }
      // Rows with their initial values are not stored.
      let count = 0;
      for (let row = 0; row < rows; row++) {
        let same = true;
        for (const { name, width } of matrices) {
          const words = block[name]!;
          for (let k = row * width, end = k + width; k < end && same; k++) {
            same = Object.is(words[k], name === "weights" ? born[k] : 0);
          }
        }
        if (same) continue;
        for (const { name, width } of matrices) block[name]!.copyWithin(count * width, row * width, (row + 1) * width);
        changed[count++] = first + row;
      }
      this.#cached.write(changed.subarray(0, count), this.#block);
      onProgress((first + rows) / plan.rows);
    }
  }

  /** Writes changed rows to the log and links its segments into the checkpoint. */
  override save(places: CheckpointPlaces, body: CheckpointBody): number {
    this.drain();
    const saved = this.#named(() => this.#cached.seal());
    const bytes = saved === undefined ? 0 : this.#write(saved, places, body);
    this.drain();
    return bytes;
  }

  #write({ directory, seed, segments }: SavedRows, places: CheckpointPlaces, body: CheckpointBody): number {
    const rowLog = { seed, segments: segments.map(({ number }) => number) };
    let bytes = 0;
    storeCheckpoint(places, { ...body, rowLog }, (writer, names) => {
      writeDense(writer, this.memory, names);
      for (const { number, ...entry } of segments) {
        const name = segmentFile(number);
        writer.link(name, join(directory, name), entry);
        bytes += entry.bytes;
      }
    });
    return bytes;
  }

  override get moved(): MovedRows | undefined {
    const { store, slots } = this.#cache;
    if (store === undefined) return undefined;
    const { rows, fetched } = this.#cached.counts;
    const { rowsComputed, rowsRead, rowsWritten, reads, bytesRead, bytesWritten, diskBytes } = store.counts;
    return {
      ...{ slots: Math.min(slots, this.memory.plan.rows), rows, fetched, computed: rowsComputed },
      ...{ read: rowsRead, written: rowsWritten, reads, bytesRead, bytesWritten, diskBytes },
      waitSeconds: store.waitedMs / 1000,
    };
  }

  override takeMoved(): ProgressEvent["moved"] {
    const { moved } = this;
    if (moved === undefined) return undefined;
    const { rows, fetched, read, waitSeconds } = this.#taken ?? NOTHING;
    this.#taken = moved;
    return {
      rows: moved.rows - rows,
      fetched: moved.fetched - fetched,
      read: moved.read - read,
      waitSeconds: moved.waitSeconds - waitSeconds,
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#owned[Symbol.dispose]();
    await this.#ranks[Symbol.asyncDispose]();
  }
}
