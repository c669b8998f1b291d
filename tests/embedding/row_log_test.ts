import assert from "node:assert/strict";
import { join } from "node:path";
import { LinuxAio } from "../../ffi/aio.ts";
import { LibraryError } from "../../ffi/library.ts";
import { RowLog, type RowLogOptions } from "../../src/embedding/stores/row_log.ts";
import { type SavedRows, segmentFile } from "../../src/embedding/stores/log_segments.ts";
import { ThreadTransfers } from "../../src/embedding/stores/thread_transfers.ts";
import { SerialTransfers, type Transfers } from "../../src/embedding/stores/transfers.ts";
import { Random } from "../../src/random.ts";
import { measure } from "../../src/storage/file_entry.ts";
import { crc32Of } from "../../src/storage/crc32.ts";
import { seriesLength } from "../support/series.ts";
import { TemporaryDirectory } from "../support/temporary.ts";

function options(directory: string | undefined, rows: number, recordWords: number): RowLogOptions {
  return {
    ...{ directory, rows, recordWords, segmentBytes: 1 },
    initial: (row, records, at) => records.fill(row / 7, at, at + recordWords),
  };
}

/** Writes and reads at random, and compares with a plain copy. */
function tryRandomly(log: RowLog, random: Random, rounds: number): void {
  const { rows, recordWords } = log;
  const value = new Map<number, number>();
  const distinct = () => {
    const chosen = new Set<number>();
    for (let i = 1 + random.below(200); i > 0; i--) chosen.add(Math.floor(rows * random.uniform() ** 2));
    return random.shuffle(Uint32Array.from(chosen));
  };
  for (let round = 0; round < rounds; round++) {
    const written = distinct();
    const records = new Float32Array(written.length * recordWords);
    for (const [i, row] of written.entries()) {
      value.set(row, Math.fround(random.uniform()));
      for (let w = 0; w < recordWords; w++) records[i * recordWords + w] = value.get(row)! + w;
    }
    log.write(written, written.length, records);
    const read = distinct();
    const got = new Float32Array(read.length * recordWords);
    log.read(read, read.length, got);
    const expected = new Float32Array(got.length);
    for (const [i, row] of read.entries()) {
      for (let w = 0; w < recordWords; w++) {
        expected[i * recordWords + w] = value.has(row) ? value.get(row)! + w : row / 7;
      }
    }
    for (let i = 0; i < got.length; i++) {
      if (got[i] !== expected[i]) assert.fail(`round ${round}, word ${i}: ${got[i]}`);
    }
    assert.equal(log.writtenRows, value.size);
  }
}

for (
  const [name, transfers] of Object.entries({
    "many at a time": undefined,
    "Linux AIO": aio,
    "threads": threads,
    "one at a time": serial,
  })
) {
  Deno.test(`a log of rows gives back what was written last, with ${name}`, () => {
    using directory = new TemporaryDirectory();
    for (const [i, recordWords] of [1, 32, 128, 1500].entries()) {
      const rows = recordWords > 1000 ? 400 : 5_000;
      using log = new RowLog({ ...options(directory.path, rows, recordWords), transfers });
      tryRandomly(log, new Random(i), seriesLength({ test: 60, all: 600, evidence: 20_000 }));
      // A page of a few rows has unused words; two segments are not counted.
      const rowBytes = recordWords === 1500 ? 8192 : recordWords === 128 ? 4096 / 7 : 4.05 * (recordWords + 1);
      const most = 1.5 * rowBytes * log.writtenRows + 4 * (256 << 10);
      assert.ok(log.diskBytes <= most, `${log.diskBytes} bytes for ${log.writtenRows} rows of ${recordWords} words`);
      assert.ok(log.counts.rowsComputed > 0 && log.counts.rowsRead > 0);
      if (recordWords > 1) assert.ok(log.counts.bytesWritten > 0 && log.counts.bytesRead > 0);
    }
  });
}

Deno.test("a log whose compaction ends within the last page of a segment gives back what was written last", () => {
  using directory = new TemporaryDirectory();
  const [recordWords, segment] = [128, 64 * 7]; // 7 rows in a page, 64 pages in a segment
  const count = 2854;
  using log = new RowLog(options(directory.path, count, recordWords));
  let written = 0;
  const expected = new Float32Array(count);
  const write = (...ranges: (readonly [from: number, count: number])[]) => {
    for (const [from, count] of ranges) {
      const rows = Uint32Array.from({ length: count }, (_, i) => from + i);
      expected.fill(++written, from, from + count);
      log.write(rows, count, new Float32Array(count * recordWords).fill(written));
    }
  };
  const at = (segmentIndex: number, row = 0) => segmentIndex * segment + row;
  write([0, count]); // 166 of them in the seventh segment
  // Four more segments, of which all but the last keep 242 to 248 rows, except the first two: 222 and 223. These are
  // compacted together: 445 rows fill 63 pages and begin the last one of a segment.
  write([at(0), 141], [at(1), 141]);
  write([at(0, 141), 85], [at(1, 141), 84], [at(2), 200], [at(3), 79]);
  write([at(3, 79), 121], [at(4), 200], [at(5), 127]);
  write([at(5, 127), 73], [at(6), 166], [at(0), 40], [at(2), 169]);
  write([at(2, 169), 31], [at(3), 6], [at(4), 200], [at(3, 79), 6], [at(5, 127), 73], [at(6), 132]);
  write([at(5), 1], [at(2), 2 * segment]); // so much that the page is no longer in memory
  const rows = Uint32Array.from({ length: count }, (_, row) => row);
  const records = new Float32Array(rows.length * recordWords);
  log.read(rows, rows.length, records);
  assert.deepEqual(Float32Array.from(rows, (row) => records[row * recordWords]), expected);
});

function serial(memory: Uint8Array): Transfers {
  return new SerialTransfers(memory);
}

function threads(memory: Uint8Array, depth: number): Transfers {
  return new ThreadTransfers(depth, memory);
}

/** One transfer at a time where the system has no AIO. */
function aio(memory: Uint8Array, depth: number): Transfers {
  try {
    return new LinuxAio(depth, memory);
  } catch (error) {
    assert.ok(error instanceof LibraryError);
    return serial(memory);
  }
}

Deno.test("what is sealed is read as it was then, and can be the beginning of another log", () => {
  using directory = new TemporaryDirectory();
  const [rows, recordWords] = [3_000, 20];
  const place = (name: string) => {
    Deno.mkdirSync(directory.join(name));
    return directory.join(name);
  };
  const all = Uint32Array.from({ length: rows }, (_, row) => row);
  const contentOf = (log: RowLog) => {
    const records = new Float32Array(rows * recordWords);
    log.read(all, rows, records);
    return records;
  };
  const random = new Random(5);
  const kept: { saved: SavedRows; content: Float32Array }[] = [];
  using log = new RowLog(options(place("log"), rows, recordWords));
  for (let round = 0; round < 12; round++) {
    // From time to time the log begins with one of those before.
    if (round === 7) log.adopt(kept[3].saved);
    for (let i = 0; i < 8; i++) {
      const written = random.shuffle(Uint32Array.from(all)).subarray(0, 1 + random.below(400));
      log.write(
        written,
        written.length,
        Float32Array.from({ length: written.length * recordWords }, () => random.uniform()),
      );
    }
    const saved = place(`saved-${round}`);
    const segments = log.seal();
    for (const { number } of segments) {
      Deno.linkSync(directory.join("log", segmentFile(number)), join(saved, segmentFile(number)));
    }
    kept.push({ saved: { directory: saved, seed: 0, segments }, content: contentOf(log) });
  }
  const sizes = kept.map(({ saved: { segments } }) => segments.reduce((sum, { bytes }) => sum + bytes, 0));
  assert.ok(Math.max(...sizes) < 1.5 * 4.4 * rows * recordWords + 4 * (256 << 10), `${sizes}`);
  for (const [round, { saved, content }] of kept.entries()) {
    using other = new RowLog(options(undefined, rows, recordWords));
    other.adopt(saved);
    assert.deepEqual(contentOf(other), content, `${round}`);
    for (const { number, bytes, crc32 } of saved.segments) {
      assert.deepEqual(measure(join(saved.directory, segmentFile(number))), { bytes, crc32 });
    }
  }
});

Deno.test("hosts have a log each of their rows; all segments together are a log for any number of hosts", () => {
  using directory = new TemporaryDirectory();
  const [rows, recordWords] = [3_000, 20];
  const random = new Random(7);
  const value = Float32Array.from({ length: rows }, (_, row) => row / 7);
  let saved: SavedRows = { directory: directory.path, seed: 0, segments: [] };
  for (const [turn, hosts] of [2, 3, 1, 2, 4].entries()) {
    using opened = new DisposableStack();
    const folders = Array.from({ length: hosts }, (_, host) => directory.join(`${turn}-${host}`));
    const logs = folders.map((folder, host) => {
      Deno.mkdirSync(folder);
      return opened.use(new RowLog({ ...options(folder, rows, recordWords), shard: { host, hosts } }));
    });
    const expectAll = () => {
      for (const [host, log] of logs.entries()) {
        const own = Uint32Array.from({ length: Math.ceil((rows - host) / hosts) }, (_, i) => i * hosts + host);
        const records = new Float32Array(own.length * recordWords);
        log.read(own, own.length, records);
        own.forEach((row, i) => assert.equal(records[i * recordWords], value[row], `row ${row} of ${hosts} hosts`));
      }
    };
    for (const log of logs) log.adopt(saved);
    expectAll();
    for (let round = 0; round < 60; round++) {
      const host = round % hosts;
      const written = new Set(Array.from({ length: 150 }, () => host + hosts * random.below(Math.floor(rows / hosts))));
      const records = new Float32Array(written.size * recordWords);
      [...written].forEach((row, i) =>
        records.fill(value[row] = random.uniform(), i * recordWords, (i + 1) * recordWords)
      );
      logs[host].write(Uint32Array.from(written), written.size, records);
    }
    expectAll();
    // As a checkpoint: every segment once, under its number.
    const target = directory.join(`checkpoint-${turn}`);
    Deno.mkdirSync(target);
    const begun = new Set(saved.segments.map(({ number }) => number));
    const segments = new Map<number, SavedRows["segments"][number]>();
    for (const [host, log] of logs.entries()) {
      for (const entry of log.seal()) {
        const name = segmentFile(entry.number);
        assert.ok(begun.has(entry.number) || !segments.has(entry.number), `two hosts have written ${name}`);
        if (!segments.has(entry.number)) Deno.linkSync(join(folders[host], name), join(target, name));
        segments.set(entry.number, entry);
      }
    }
    saved = { directory: target, seed: 0, segments: [...segments.values()].sort((a, b) => a.number - b.number) };
  }
});

Deno.test("more hosts than a checkpoint has segments for are refused", () => {
  using directory = new TemporaryDirectory();
  const open = (hosts: number) => {
    const shard = { host: 0, hosts };
    return new RowLog({ ...options(directory.path, 10_000_000, 17), segmentBytes: undefined, shard });
  };
  open(48)[Symbol.dispose]();
  assert.throws(() => open(49), {
    message: "Cannot store 10000000 rows (hosts: 49) on disk: at most 2147483647 rows and 48 hosts are supported",
  });
});

Deno.test("segments of other tables, and damaged ones, are refused", () => {
  using directory = new TemporaryDirectory();
  const { log } = filled(directory);
  using _log = log;
  const saved = { directory: directory.path, seed: 0, segments: log.seal() };
  using few = new RowLog(options(undefined, 1_000, 127));
  assert.throws(() => few.adopt(saved), { code: "damaged", message: /: it holds row 1000 of 1000/ });
  const [{ number, bytes }, second] = saved.segments;
  const path = directory.join(segmentFile(number));
  using other = new RowLog(options(undefined, 20_000, 127));
  Deno.copyFileSync(path, directory.join("copy"));
  Deno.copyFileSync(directory.join(segmentFile(second.number)), path);
  assert.throws(() => other.adopt(saved), {
    code: "damaged",
    message: /rows-1\.log at byte 0: the page is a different page/,
  });
  Deno.copyFileSync(directory.join("copy"), path);
  Deno.truncateSync(path, bytes - 4096);
  assert.throws(() => other.adopt(saved), { message: /rows-1\.log at byte \d+: the file ends early/ });
  Deno.removeSync(path);
  assert.throws(() => other.adopt(saved), /Cannot read rows from .*rows-1\.log: .*o such file/);
});

Deno.test("the files of a log are gone with it, and it is refused where there can be none", () => {
  using directory = new TemporaryDirectory();
  {
    const { log } = filled(directory);
    using _log = log;
    assert.ok(log.diskBytes > 0);
    assert.ok([...Deno.readDirSync(directory.path)].length > 0);
  }
  assert.deepEqual([...Deno.readDirSync(directory.path)], []);
  const nowhere = directory.join("nowhere");
  assert.throws(() => new RowLog(options(nowhere, 10, 4)), /Cannot write rows to .*nowhere: /);
});

Deno.test("a row that holds what is no number is not written", () => {
  using directory = new TemporaryDirectory();
  using log = new RowLog(options(directory.path, 10, 4));
  const records = new Float32Array(8).fill(1);
  for (const wrong of [NaN, -Infinity]) {
    records[6] = wrong;
    assert.throws(() => log.write(new Uint32Array([3, 9]), 2, records), {
      name: "NotFiniteRow",
      code: "diverged",
      message: `row 9 of all tables holds ${wrong}`,
    });
  }
  log.read(new Uint32Array([3]), 1, records);
  assert.equal(records[0], Math.fround(3 / 7));
});

/** A log of 2,000 rows in whole pages on the disk, and its first file. */
function filled(directory: TemporaryDirectory, more: Partial<RowLogOptions> = {}) {
  const log = new RowLog({ ...options(directory.path, 20_000, 127), ...more });
  const rows = Uint32Array.from({ length: 2_000 }, (_, i) => i);
  const records = new Float32Array(rows.length * 127).fill(0.5);
  log.write(rows, rows.length, records);
  return { log, rows, records };
}

/** Transfers that end otherwise than they should. */
function failing(writes: boolean, change: (transfers: SerialTransfers, page: Uint32Array) => void) {
  return (memory: Uint8Array) =>
    new (class extends SerialTransfers {
      override begin(write: boolean, fd: number, position: number, at: number, length: number, tag: number): void {
        super.begin(write, fd, position, at, length, tag);
        if (write === writes) change(this, new Uint32Array(memory.buffer, memory.byteOffset + at, length / 4));
      }
    })(memory);
}

for (
  const [name, writes, change, expected] of [
    ["a flipped bit", false, (_, page) => page[40] ^= 1, {
      code: "damaged",
      message: /at byte 0: the page is damaged/,
    }],
    [
      "a page of another place",
      false,
      (_, page) => {
        page[2] += 3;
        page[0] = crc32Of(new Uint8Array(page.buffer, page.byteOffset + 4, 4092));
      },
      { code: "damaged", message: /at byte 0: the page is a different page/ },
    ],
    ["a short read", false, (transfers) => transfers.result = 512, { message: /at byte 0: the file ends early/ }],
    ["a read error", false, (transfers) => transfers.result = -5, { message: /from .*: the disk reports an error/ }],
    ["a full disk", true, (transfers) => transfers.result = -28, {
      code: "no-space",
      message: /to .*: the disk is full/,
    }],
    ["a short write", true, (transfers) => transfers.result = 4096, {
      code: "no-space",
      message: /: the disk is full/,
    }],
  ] as [string, boolean, (transfers: SerialTransfers, page: Uint32Array) => void, { code?: string; message: RegExp }][]
) {
  Deno.test(`${name} is told with its place`, () => {
    using directory = new TemporaryDirectory();
    assert.throws(() => {
      const { log, rows, records } = filled(directory, { transfers: failing(writes, change) });
      using _log = log;
      log.read(rows, 500, records);
    }, expected);
  });
}
