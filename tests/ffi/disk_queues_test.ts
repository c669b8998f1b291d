/** io_uring, Linux AIO and threads: many concurrent transfers between files and memory. */
import assert from "node:assert/strict";
import { closeSync, constants, openSync } from "node:fs";
import { LinuxAio } from "../../ffi/aio.ts";
import { IoUring } from "../../ffi/io_uring.ts";
import { LibraryError } from "../../ffi/library.ts";
import { Random } from "../../src/random.ts";
import { alignedBytes } from "../../src/storage/direct_file.ts";
import { ThreadTransfers } from "../../src/embedding/stores/thread_transfers.ts";
import { hasDirect } from "../../src/embedding/stores/log_segments.ts";
import { TemporaryDirectory } from "../support/temporary.ts";

type Queue = typeof IoUring | typeof LinuxAio | typeof ThreadTransfers;

function findFault(Queue: Queue, direct: boolean): string | undefined {
  using directory = new TemporaryDirectory();
  if (direct && !hasDirect(directory.path)) return "the file system has no O_DIRECT";
  try {
    using _queue = new Queue(8, new Uint8Array(4096));
    return undefined;
  } catch (error) {
    if (error instanceof LibraryError) return error.message;
    throw error;
  }
}

for (const Queue of [IoUring, LinuxAio, ThreadTransfers]) {
  for (const direct of [true, false]) {
    const fault = findFault(Queue, direct);
    const how = `${Queue.name}${direct ? "" : " through the page cache"}${
      fault === undefined ? "" : ` (ignored: ${fault})`
    }`;
    Deno.test({
      name: `a queue of transfers reads what it wrote, whatever ends first: ${how}`,
      ignore: fault !== undefined,
      fn: () => writeAndRead(Queue, direct ? constants.O_DIRECT : 0),
    });
  }
}

function writeAndRead(Queue: Queue, flag: number): void {
  using directory = new TemporaryDirectory();
  const [block, blocks, depth] = [4096, 160, 48];
  const memory = alignedBytes(block * blocks);
  const words = new Uint32Array(memory.buffer, 0, memory.length / 4);
  const fd = openSync(directory.join("file"), constants.O_RDWR | constants.O_CREAT | flag);
  using queue = new Queue(depth, memory);
  const all = (write: boolean, places: Uint32Array) => {
    const tags = new Set<number>();
    for (let next = 0, done = 0; done < blocks;) {
      if (next < blocks && next - done < depth) {
        queue.begin(write, fd, block * places[next], block * next, block, 1000 + next++);
        continue;
      }
      tags.add(queue.finish());
      assert.equal(queue.result, block);
      done++;
    }
    assert.equal(tags.size, blocks);
  };
  try {
    const places = new Random(1).shuffle(Uint32Array.from({ length: blocks }, (_, i) => i));
    for (let i = 0; i < words.length; i++) words[i] = i;
    all(true, places);
    words.fill(0);
    all(false, places.toReversed());
    for (let b = 0; b < blocks; b++) assert.equal(words[b * block / 4], (blocks - 1 - b) * block / 4);
    // Past the end nothing is read; what cannot be is an error number, and the others are transferred.
    queue.begin(false, fd, block * blocks, 0, block, 7);
    assert.equal(queue.finish(), 7);
    assert.equal(queue.result, 0);
    queue.begin(false, fd, 0, 0, block, 8);
    queue.begin(false, 9999, 0, block, block, 9);
    queue.begin(false, fd, 0, 2 * block, block, 10);
    const results = Object.fromEntries([8, 9, 10].map(() => [queue.finish(), queue.result]));
    assert.deepEqual(results, { 8: block, 9: -9, 10: block });
    assert.throws(() => queue.finish(), /none is under way/);
    assert.throws(() => queue.begin(false, fd, 0, memory.length, block, 0), /outside of its memory/);
  } finally {
    closeSync(fd);
  }
}
