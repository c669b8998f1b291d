import assert from "node:assert/strict";
import { RowLog, type RowLogOptions } from "../../src/embedding/stores/row_log.ts";
import { SerialTransfers, type Transfers } from "../../src/embedding/stores/transfers.ts";
import { Random } from "../../src/random.ts";
import { seriesLength } from "../support/series.ts";
import { TemporaryDirectory } from "../support/temporary.ts";

function options(directory: string, rows: number, recordWords: number): RowLogOptions {
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

for (const [name, transfers] of [["many at a time", undefined], ["one at a time", serial]] as const) {
  Deno.test(`a log of rows gives back what was written last, with ${name}`, () => {
    using directory = new TemporaryDirectory();
    for (const [i, recordWords] of [1, 32, 128, 1500].entries()) {
      const rows = recordWords > 1000 ? 400 : 5_000;
      using log = new RowLog({ ...options(directory.join(`log${i}`), rows, recordWords), transfers });
      tryRandomly(log, new Random(i), seriesLength({ test: 60, all: 1_000, evidence: 20_000 }));
      // A page of a few rows has unused words; two segments are not counted.
      const rowBytes = recordWords === 1500 ? 8192 : recordWords === 128 ? 4096 / 7 : 4.05 * (recordWords + 1);
      const most = 1.5 * rowBytes * log.writtenRows + 4 * (256 << 10);
      assert.ok(log.diskBytes <= most, `${log.diskBytes} bytes for ${log.writtenRows} rows of ${recordWords} words`);
      assert.ok(log.counts.rowsComputed > 0 && log.counts.rowsRead > 0);
      if (recordWords > 1) assert.ok(log.counts.bytesWritten > 0 && log.counts.bytesRead > 0);
    }
  });
}

function serial(memory: Uint8Array): Transfers {
  return new SerialTransfers(memory);
}

Deno.test("a log removes its files, and is not made where something is", () => {
  using directory = new TemporaryDirectory();
  const place = directory.join("log");
  {
    using _log = new RowLog(options(place, 10, 4));
    assert.throws(() => new RowLog(options(place, 10, 4)), /Cannot make row store .*log: .*exists/i);
  }
  assert.deepEqual([...Deno.readDirSync(directory.path)], []);
});

Deno.test("a row that holds what is no number is not written", () => {
  using directory = new TemporaryDirectory();
  using log = new RowLog(options(directory.join("log"), 10, 4));
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
  const log = new RowLog({ ...options(directory.join("log"), 20_000, 127), ...more });
  const rows = Uint32Array.from({ length: 2_000 }, (_, i) => i);
  const records = new Float32Array(rows.length * 127).fill(0.5);
  log.write(rows, rows.length, records);
  return { log, rows, records, path: directory.join("log/segment-0") };
}

Deno.test("a damaged page, another page and a short file are told with their place", () => {
  for (
    const [damage, expected] of [
      [
        (file: Deno.FsFile) => write(file, 4096 * 3 + 100, new Uint8Array([1])),
        /segment-0 at byte 12288: the page is dam/,
      ],
      [
        (file: Deno.FsFile) => {
          const page = new Uint8Array(4096);
          file.seekSync(0, Deno.SeekMode.Start);
          file.readSync(page);
          write(file, 8192, page);
        },
        /segment-0 at byte 8192: the page is another page/,
      ],
      [(file: Deno.FsFile) => file.truncateSync(16384), /segment-0 at byte \d+: the file ends early/],
    ] as const
  ) {
    using directory = new TemporaryDirectory();
    const { log, rows, records, path } = filled(directory);
    using _log = log;
    log.read(rows, 500, records);
    assert.equal(records[0], 0.5);
    {
      using file = Deno.openSync(path, { read: true, write: true });
      damage(file);
    }
    assert.throws(() => log.read(rows, 500, records), expected);
  }
});

function write(file: Deno.FsFile, position: number, bytes: Uint8Array): void {
  file.seekSync(position, Deno.SeekMode.Start);
  file.writeSync(bytes);
}

Deno.test("a disk that is full, or fails, is told as such", () => {
  for (
    const [write, error, expected] of [
      [true, -28, { code: "no-space", message: /Cannot write row store .*segment-0 at byte 0: the disk is full/ }],
      [true, 4096, { code: "no-space", message: /Cannot write row store .*segment-0 at byte 0: the disk is full/ }],
      [false, -5, {
        code: "failed",
        message: /Cannot read row store .*segment-0 at byte 0: the disk reports an error/,
      }],
    ] as const
  ) {
    using directory = new TemporaryDirectory();
    class Failing extends SerialTransfers {
      override begin(writes: boolean, fd: number, position: number, at: number, length: number, tag: number): void {
        super.begin(writes, fd, position, at, length, tag);
        if (write === writes) this.result = error;
      }
    }
    assert.throws(() => {
      const { log, rows, records } = filled(directory, { transfers: (memory) => new Failing(memory) });
      using _log = log;
      log.read(rows, 500, records);
    }, expected);
  }
});
