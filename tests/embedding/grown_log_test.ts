/** A log that begins with the segments of a checkpoint whose tables have grown since. */
import assert from "node:assert/strict";
import { join } from "node:path";
import type { LogSegmentEntry, SavedRows } from "../../src/embedding/stores/log_segments.ts";
import { segmentFile } from "../../src/embedding/stores/log_segments.ts";
import { RowLog } from "../../src/embedding/stores/row_log.ts";
import type { RowNumbers } from "../../src/embedding/stores/row_numbers.ts";
import { initialRecords } from "../../src/embedding/initialise.ts";
import { Random } from "../../src/random.ts";
import { GrowingTables, type PlainRow } from "../support/growing_tables.ts";
import { TemporaryDirectory } from "../support/temporary.ts";

const WORDS = 20;
const PAGE_BYTES = 4096;
/** Of a page of records of this length. */
const PAGE_ROWS = Math.floor((PAGE_BYTES / 4 - 3) / (1 + WORDS));

/** The log of a host in a new directory; `segmentBytes` chooses the smallest segments. */
function openLog(folder: string, numbers: RowNumbers, rows: number, host = 0, hosts = 1): RowLog {
  Deno.mkdirSync(folder);
  const initial = initialRecords(numbers.initialRows({ dim: WORDS }), { dim: WORDS, optimizer: "sgd" });
  return new RowLog({
    ...{ directory: folder, rows, recordWords: WORDS, initial, segmentBytes: 1 },
    shard: { host, hosts },
  });
}

/** Expects the value of each row that the host has: that written last, or the initial one. */
function expectRows(log: RowLog, rows: readonly PlainRow[], written: Map<PlainRow, number>, host = 0, hosts = 1): void {
  const own = Uint32Array.from([...rows.keys()].filter((row) => row % hosts === host));
  const records = new Float32Array(own.length * WORDS);
  log.read(own, own.length, records);
  for (const [i, row] of own.entries()) {
    const value = written.get(rows[row]);
    const expected = value === undefined ? rows[row].initial : new Float32Array(WORDS).fill(value);
    assert.deepEqual(records.subarray(i * WORDS, (i + 1) * WORDS), expected, `row ${row}`);
  }
}

/** Links the segments of logs into a new directory, each once, as a checkpoint does. */
function save(target: string, folders: readonly string[], logs: readonly RowLog[]): SavedRows["segments"] {
  Deno.mkdirSync(target);
  const segments = new Map<number, LogSegmentEntry>();
  for (const [host, log] of logs.entries()) {
    for (const entry of log.seal()) {
      const name = segmentFile(entry.number);
      if (!segments.has(entry.number)) Deno.linkSync(join(folders[host], name), join(target, name));
      segments.set(entry.number, entry);
    }
  }
  return [...segments.values()].sort((a, b) => a.number - b.number);
}

Deno.test("a log goes on with the segments of smaller tables, for any number of hosts, while rows are dropped", () => {
  using directory = new TemporaryDirectory();
  const random = new Random(7);
  const tables = new GrowingTables([900, 1, 2_000], WORDS, 5);
  const written = new Map<PlainRow, number>();
  let saved: SavedRows = { directory: directory.path, seed: 0, numbers: tables.numbers, segments: [] };
  let dropped = 0;
  for (const [turn, hosts] of [1, 2, 3, 1, 1].entries()) {
    using opened = new DisposableStack();
    if (turn > 0) tables.grow(random, [0, .05, .3][turn % 3], 300);
    const { rows, numbers } = tables;
    const folders = Array.from({ length: hosts }, (_, host) => directory.join(`${turn}-${host}`));
    const logs = folders.map((folder, host) => opened.use(openLog(folder, numbers, rows.length, host, hosts)));
    const expectAll = () => logs.forEach((log, host) => expectRows(log, rows, written, host, hosts));
    for (const log of logs) log.adopt({ ...saved, numbers });
    expectAll();
    for (let round = 0; round < 40; round++) {
      const host = round % hosts;
      const chosen = new Set(
        Array.from({ length: 150 }, () => host + hosts * random.below(Math.floor(rows.length / hosts))),
      );
      const records = new Float32Array(chosen.size * WORDS);
      for (const [i, row] of [...chosen].entries()) {
        written.set(rows[row], Math.fround(random.uniform()));
        records.fill(written.get(rows[row])!, i * WORDS, (i + 1) * WORDS);
      }
      logs[host].write(Uint32Array.from(chosen), chosen.size, records);
    }
    expectAll();
    const alive = logs.reduce((sum, log) => sum + log.writtenRows, 0);
    assert.equal(alive, rows.filter((row) => written.has(row)).length);
    dropped += written.size - alive;
    // Dropped rows take no space for ever.
    const most = 1.5 * PAGE_BYTES / PAGE_ROWS * alive + hosts * 4 * (256 << 10);
    const bytes = logs.reduce((sum, log) => sum + log.diskBytes, 0);
    if (hosts === 1) assert.ok(bytes <= most, `${bytes} bytes for ${alive} rows`);
    const target = directory.join(`saved-${turn}`);
    saved = { ...saved, numbers, directory: target, segments: save(target, folders, logs) };
  }
  assert.ok(dropped > 100, "else this proves nothing");
});

Deno.test("growth writes no page; then only rows that are written, with the segments of the smaller tables as they were", () => {
  using directory = new TemporaryDirectory();
  const random = new Random(9);
  const tables = new GrowingTables([2_000, 3_000], WORDS, 5);
  const written = new Map<PlainRow, number>();
  const all = Uint32Array.from(tables.rows.keys());
  const folder = directory.join("first");
  let saved: SavedRows = { directory: folder, seed: 0, segments: [] };
  using first = openLog(folder, tables.numbers, all.length);
  first.write(all, all.length, new Float32Array(all.length * WORDS).fill(1));
  for (const row of tables.rows) written.set(row, 1);
  saved = { ...saved, segments: first.seal() };
  for (let day = 0; day < 4; day++) {
    tables.grow(random, day % 2 === 0 ? 0 : .02, 100);
    const { rows, numbers } = tables;
    const next = directory.join(`day-${day}`);
    using log = openLog(next, numbers, rows.length);
    log.adopt({ ...saved, numbers });
    assert.deepEqual([log.counts.bytesWritten, log.seal()], [0, saved.segments]);
    const touched = Uint32Array.from(rows.keys()).subarray(rows.length - 150);
    log.write(touched, touched.length, new Float32Array(touched.length * WORDS).fill(day));
    for (const row of touched) written.set(rows[row], day);
    const segments = log.seal();
    assert.equal(log.counts.bytesWritten, PAGE_BYTES * Math.ceil(touched.length / PAGE_ROWS));
    assert.deepEqual(segments.slice(0, -1), saved.segments);
    for (const { number } of saved.segments) {
      const [a, b] = [saved.directory, next].map((of) => Deno.statSync(join(of, segmentFile(number))).ino);
      assert.equal(a, b, "a segment was copied");
    }
    expectRows(log, rows, written);
    const target = directory.join(`saved-${day}`);
    saved = { directory: target, seed: 0, segments: save(target, [next], [log]) };
  }
});
