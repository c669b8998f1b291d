/**
 * The cost of rows on disk, compared with the disk itself: random reads of 4 KiB pages in the same run, by io_uring, by
 * Linux AIO, by threads and one by one; then rows of a log, at random and as batches in the order in which they were
 * written.
 *
 *     deno run -A bench/row_store.ts [DIRECTORY] [ROWS]
 *
 * Prints a line of JSON for each. The file of the pages is larger than the rows of the log, and both are read without
 * the page cache.
 */
import { closeSync, constants, openSync } from "node:fs";
import process from "node:process";
import { join } from "node:path";
import { LinuxAio } from "../ffi/aio.ts";
import { READ_DEPTH } from "../src/embedding/stores/page_reader.ts";
import { RowLog } from "../src/embedding/stores/row_log.ts";
import { ThreadTransfers } from "../src/embedding/stores/thread_transfers.ts";
import { openTransfers, SerialTransfers, type Transfers } from "../src/embedding/stores/transfers.ts";
import { Random } from "../src/random.ts";
import { alignedBytes } from "../src/storage/direct_file.ts";

const directory = Deno.args[0] ?? ".";
const rows = Number(Deno.args[1] ?? 4_000_000);
const DIM = 16, STATE_WORDS = 16;
const PAGE = 4096;
const PAGES = 2 ** 18;
const BATCH_ROWS = 7_000;
const ROUNDS = 5;

/** The best of a few rounds, with the processor time of that round. */
function best(what: string, count: number, unit: string, run: () => void): void {
  let seconds = Infinity, cpu = 0;
  for (let round = 0; round < ROUNDS; round++) {
    const used = process.cpuUsage();
    const begin = performance.now();
    run();
    const took = (performance.now() - begin) / 1000;
    const { user, system } = process.cpuUsage(used);
    if (took < seconds) [seconds, cpu] = [took, user + system];
  }
  console.log(JSON.stringify({
    what,
    [`${unit}PerSecond`]: Math.round(count / seconds),
    [`cpuMicrosecondsPer${unit === "pages" ? "Page" : "Row"}`]: +(cpu / count).toFixed(2),
    batchMilliseconds: +(1000 * seconds * BATCH_ROWS / count).toFixed(1),
  }));
}

function readPages(transfers: Transfers, fd: number, random: Random, count: number, run: number): void {
  const free = Array.from({ length: transfers.depth }, (_, i) => i);
  for (let begun = 0, done = 0; done < count;) {
    const place = begun < count ? free.pop() : undefined;
    if (place !== undefined) {
      transfers.begin(false, fd, random.below(PAGES / run) * run * PAGE, place * run * PAGE, run * PAGE, place);
      begun += run;
      continue;
    }
    free.push(transfers.finish());
    if (transfers.result !== run * PAGE) throw new Error(`a read ended with ${transfers.result}`);
    done += run;
  }
}

function measureDisk(): void {
  const path = join(directory, `pages-${Deno.pid}`);
  const fd = openSync(path, constants.O_RDWR | constants.O_CREAT | constants.O_EXCL | constants.O_DIRECT);
  Deno.removeSync(path);
  const memory = alignedBytes(16 * 256 * PAGE);
  try {
    const random = new Random(1);
    using many = openTransfers(memory, READ_DEPTH);
    memory.forEach((_, i) => memory[i] = i * 7 + (i >>> 9));
    for (let page = 0; page < PAGES; page += 256) {
      many.begin(true, fd, page * PAGE, 0, 256 * PAGE, 0);
      many.finish();
      if (many.result !== 256 * PAGE) throw new Error(`a write ended with ${many.result}`);
    }
    using aio = new LinuxAio(READ_DEPTH, memory);
    using threads = new ThreadTransfers(READ_DEPTH, memory);
    for (const way of [many, aio, threads]) {
      for (const [what, run] of [["random pages", 1], ["runs of 8 pages", 8]] as const) {
        const count = 4 * BATCH_ROWS;
        best(`${what}, ${way.name}`, count, "pages", () => readPages(way, fd, random, count, run));
      }
    }
    const serial = new SerialTransfers(memory);
    best(`random pages, ${serial.name}`, BATCH_ROWS, "pages", () => readPages(serial, fd, random, BATCH_ROWS, 1));
  } finally {
    closeSync(fd);
  }
}

function measureLog(): void {
  const recordWords = DIM + STATE_WORDS;
  using log = new RowLog({ directory, rows, recordWords, initial: (_, records, at) => records.fill(0, at, at + 1) });
  const random = new Random(2);
  const order = random.shuffle(Uint32Array.from({ length: rows }, (_, row) => row));
  const records = new Float32Array(BATCH_ROWS * recordWords).fill(0.25);
  const list = new Uint32Array(BATCH_ROWS);
  const batches = Math.floor(rows / BATCH_ROWS);
  const writeAll = () => {
    for (let batch = 0; batch < batches; batch++) {
      list.set(order.subarray(batch * BATCH_ROWS, (batch + 1) * BATCH_ROWS));
      log.write(list, BATCH_ROWS, records);
    }
  };
  const begin = performance.now();
  writeAll();
  const seconds = (performance.now() - begin) / 1000;
  console.log(JSON.stringify({
    what: `rows written, ${log.name}`,
    rowsPerSecond: Math.round(batches * BATCH_ROWS / seconds),
    megabytesPerSecond: Math.round(log.counts.bytesWritten / seconds / 1e6),
  }));
  best("rows of a batch that were written together", BATCH_ROWS, "rows", () => {
    const batch = random.below(batches - 10);
    list.set(order.subarray(batch * BATCH_ROWS, (batch + 1) * BATCH_ROWS));
    log.read(list, BATCH_ROWS, records);
  });
  best("rows at random", BATCH_ROWS, "rows", () => {
    for (let i = 0; i < BATCH_ROWS; i++) list[i] = order[random.below(batches * BATCH_ROWS)];
    log.read(list, BATCH_ROWS, records);
  });
}

measureDisk();
measureLog();
