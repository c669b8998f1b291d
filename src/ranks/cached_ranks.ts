/** Ranks whose tables may exceed memory: rows are cached in memory and stored on disk. */
import { join } from "node:path";
import { breaks } from "../breaks.ts";
import { CachedTables, type RowCache } from "../embedding/cached.ts";
import { type DeviceCache, DISK_LOOK_AHEAD } from "../embedding/device_cache.ts";
import type { MovedRows, ProgressEvent } from "../events/events.ts";
import { InitialRows } from "../embedding/initialise.ts";
import { type SavedRows, segmentFile } from "../embedding/stores/log_segments.ts";
import { NotFiniteRow } from "../embedding/stores/row_store.ts";
import { allocateRowBlock, matricesOf, type RowBlock, ROWS_AT_ONCE } from "../embedding/tables.ts";
import {
  type Checkpoint,
  CHECKPOINT_FILES,
  type CheckpointBody,
  ROW_FILES,
  writeDense,
} from "../checkpoint/checkpoint.ts";
import { type CheckpointPlaces, storeCheckpoint } from "../checkpoint/checkpoint_store.ts";
import { ROW_NUMBERS_FILE } from "../checkpoint/saved_log.ts";
import { NotFinite, placeOfWord } from "../checkpoint/weights.ts";
import { ALONE } from "../parallel/host_group.ts";
import { type ProcessGroup, together } from "../parallel/process_group.ts";
import { Command } from "./rank.ts";
import { LocalRank, RankGroup } from "./rank_group.ts";

/** Who moves the rows of ranks. */
export interface RowMovers {
  /** The rows in host memory, if not those of the ranks' full tables alone: the shard of a host, or those of a device. */
  readonly tables?: CachedTables;
  /** The rows of devices, which cache those in host memory. */
  readonly onDevices?: DeviceCache;
  /** All processes of the ranks; default this one. */
  readonly world?: ProcessGroup;
}

/**
 * Ranks with rows on disk. This thread moves rows and sets their positions in each batch before the ranks get it, so
 * that they train on a matrix in host memory like any other. Of the processes of a host, which share the matrix, the
 * first moves rows; the plan is a function of the batches, so all set the same positions.
 */
export class CachedRanks extends RankGroup {
  readonly #ranks: RankGroup;
  readonly #cache: RowCache;
  readonly #owned: Disposable;
  readonly #tables: CachedTables;
  readonly #onDevices: DeviceCache | undefined;
  /** Those of the two that batches have positions of. */
  readonly #cached: CachedTables | DeviceCache;
  readonly #block: RowBlock;
  readonly #world: ProcessGroup;
  /** Number of steps that may still run when `send` returns; this thread moves rows for the next ones meanwhile. */
  readonly #beside: 0 | 1;
  #unfinished = 0;
  /** Rows that host memory has fetched for a device's batches that are only scored. */
  #fetchedToScore = 0;
  /** The counters when `takeMoved` was last called. */
  #taken: MovedRows | undefined;

  /** The full tables of the ranks have one row per position of the cache; `owned` is disposed with the ranks. */
  constructor(
    ranks: RankGroup,
    cache: RowCache,
    owned: Disposable,
    { tables, onDevices, world = ALONE }: RowMovers = {},
  ) {
    const beside = onDevices !== undefined || ranks instanceof LocalRank ? 0 : 1;
    super(ranks.memory, ranks.ranks, ranks.device, onDevices ? DISK_LOOK_AHEAD : cache.lookAhead - beside);
    const { plan, batchShape, full, host } = ranks.memory;
    this.#ranks = ranks;
    this.#cache = cache;
    this.#owned = owned;
    this.#beside = beside;
    this.#world = world;
    this.#tables = tables ?? new CachedTables({ shape: plan.shape, batchShape, host }, full, cache);
    this.#onDevices = onDevices;
    this.#cached = onDevices ?? this.#tables;
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
        this.#onDevices?.clear();
        return this.#tables.initialise(a);
      case Command.train:
        this.#cached.prepareToTrain(this.batches[a]);
        if (this.#beside === 1) this.#ranks.drain(); // waits for the previous step, and other processes for its rows
        this.#ranks.post(command, a, b);
        this.#unfinished++;
        return this.#finishUntil(this.#beside);
      case Command.score:
        this.settle(); // the rows of this batch replace those of the last scored one
        this.#fetchedToScore -= this.#tables.counts.fetched;
        this.#cached.prepareToScore(this.batches[a]);
        this.#fetchedToScore += this.#tables.counts.fetched;
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

  override waitForSlot(slot: number): void {
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
    return this.#tables.rowAt(position);
  }

  /** Host memory also gets all rows that have changed on devices, or the disk those for which it has no space. */
  override updateMirror(): void {
    this.drain();
    this.#named(() => this.#onDevices?.flush());
    super.updateMirror();
  }

  override async load(checkpoint: Checkpoint, onProgress: (fraction: number) => void = () => {}): Promise<void> {
    const { plan: { shape } } = this.memory;
    checkpoint.expectModel(shape);
    const { savedRows, body: { seed } } = checkpoint;
    const moves = this.#cache.store !== undefined;
    if (moves) await checkpoint.loadDense(this.memory);
    this.post(Command.fromMirror, 0, 0);
    this.drain();
    this.#onDevices?.clear();
    if (savedRows !== undefined) this.#tables.adopt(savedRows);
    else this.#tables.initialise(seed);
    if (moves && savedRows === undefined) await this.#loadRows(checkpoint, onProgress);
    this.drain();
    onProgress(1);
  }

  /** Writes all rows of a checkpoint that differ from their initial values. */
  async #loadRows(checkpoint: Checkpoint, onProgress: (fraction: number) => void): Promise<void> {
    const { plan, host } = this.memory;
    const { shape } = plan;
    const initial = new InitialRows(shape, checkpoint.body.seed);
    const block = {
      weights: host.floats(this.#block.weights),
      state: this.#block.state && host.floats(this.#block.state),
    };
    const matrices = [...matricesOf(shape, this.#block)];
    using readers = new DisposableStack();
    const files = matrices.map(({ name }) => readers.use(checkpoint.reader(ROW_FILES[name])));
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
        if (same || !this.#tables.holds(first + row)) continue;
        for (const { name, width } of matrices) block[name]!.copyWithin(count * width, row * width, (row + 1) * width);
        changed[count++] = first + row;
      }
      this.#tables.write(changed.subarray(0, count), this.#block);
      onProgress((first + rows) / plan.rows);
      if (breaks.due) await breaks.take();
    }
  }

  /** Writes changed rows to the log of each host, and links the segments of all logs into the checkpoint. */
  override save(places: CheckpointPlaces, body: CheckpointBody): number {
    this.drain();
    const own = together(this.#world, () =>
      this.#named(() => {
        this.#onDevices?.flush();
        return this.#tables.seal();
      }));
    const log = own === undefined ? null : { directory: own.directory, segments: own.segments };
    const logs = this.#world.gather(log).filter((log) => log !== null);
    const bytes = this.#world.rank === 0 ? this.#write(logs, own!, places, body) : 0;
    this.drain();
    return bytes;
  }

  #write(
    logs: readonly Pick<SavedRows, "directory" | "segments">[],
    { seed, numbers }: SavedRows,
    places: CheckpointPlaces,
    body: CheckpointBody,
  ): number {
    // Hosts that began with the same checkpoint share its segments.
    const files = new Map(
      logs.flatMap(({ directory, segments }) =>
        segments.map(({ number, ...entry }) => [number, { directory, entry }] as const)
      ),
    );
    const rowLog = { ...(numbers === undefined ? { seed } : {}), segments: [...files.keys()].sort((a, b) => a - b) };
    let bytes = 0;
    storeCheckpoint(places, { ...body, rowLog }, (writer, names) => {
      writeDense(writer, this.memory, names);
      if (numbers !== undefined) writer.file(ROW_NUMBERS_FILE).append(numbers.words);
      for (const [number, { directory, entry }] of files) {
        const name = segmentFile(number);
        writer.link(name, join(directory, name), entry);
        bytes += entry.bytes;
      }
    });
    return bytes;
  }

  /** Of all hosts. Collective. */
  override get moved(): MovedRows {
    return this.#world.gather(this.#moved ?? null).filter((moved) => moved !== null).reduce(addMoved);
  }

  get #moved(): MovedRows | undefined {
    const { store, slots } = this.#cache;
    if (store === undefined) return undefined;
    const { rows } = this.#cached.counts;
    const fetched = this.#tables.counts.fetched - this.#fetchedToScore;
    const { rowsComputed, rowsRead, rowsWritten, reads, bytesRead, bytesWritten, diskBytes } = store.counts;
    return {
      ...{ slots: Math.min(slots, store.rows), rows, fetched, computed: rowsComputed },
      ...{ read: rowsRead, written: rowsWritten, reads, bytesRead, bytesWritten, diskBytes },
      waitSeconds: store.waitedMs / 1000,
    };
  }

  override takeMoved(): ProgressEvent["moved"] {
    const { moved } = this;
    const before = this.#taken;
    this.#taken = moved;
    const since = (name: keyof MovedRows) => moved[name] - (before?.[name] ?? 0);
    return { rows: since("rows"), fetched: since("fetched"), read: since("read"), waitSeconds: since("waitSeconds") };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await using _ranks = this.#ranks;
    this.#owned[Symbol.dispose]();
  }
}

/** The sums of two hosts; their longest wait, because hosts wait at the same time. */
function addMoved(a: MovedRows, b: MovedRows): MovedRows {
  const sums = Object.entries(a).map(([name, value]) => [name, value + b[name as keyof MovedRows]]);
  return { ...Object.fromEntries(sums) as MovedRows, waitSeconds: Math.max(a.waitSeconds, b.waitSeconds) };
}
