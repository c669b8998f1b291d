import assert from "node:assert/strict";
import { closeSync, constants, openSync } from "node:fs";
import { IoUring } from "../../ffi/io_uring.ts";
import { LibraryError } from "../../ffi/library.ts";
import { Random } from "../../src/random.ts";
import { alignedBytes } from "../../src/storage/direct_file.ts";
import { TemporaryDirectory } from "../support/temporary.ts";

const forbidden = findFault();

function findFault(): string | undefined {
  try {
    using _ring = new IoUring(8, new Uint8Array(4096));
    return undefined;
  } catch (error) {
    if (error instanceof LibraryError) return error.message;
    throw error;
  }
}

Deno.test({
  name: `a ring reads what it wrote, whatever ends first${forbidden === undefined ? "" : ` (ignored: ${forbidden})`}`,
  ignore: forbidden !== undefined,
  fn() {
    using directory = new TemporaryDirectory();
    const [block, blocks, depth] = [4096, 64, 48];
    const memory = alignedBytes(block * blocks);
    const words = new Uint32Array(memory.buffer, 0, memory.length / 4);
    const fd = openSync(directory.join("file"), constants.O_RDWR | constants.O_CREAT);
    using ring = new IoUring(depth, memory);
    const all = (write: boolean, places: Uint32Array) => {
      const tags = new Set<number>();
      for (let next = 0, done = 0; done < blocks;) {
        if (next < blocks && next - done < depth) {
          ring.begin(write, fd, block * places[next], block * next, block, 1000 + next++);
          continue;
        }
        tags.add(ring.finish());
        assert.equal(ring.result, block);
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
      // Past the end nothing is read; what cannot be is an error number.
      ring.begin(false, fd, block * blocks, 0, block, 7);
      assert.equal(ring.finish(), 7);
      assert.equal(ring.result, 0);
      ring.begin(false, 9999, 0, 0, block, 8);
      ring.finish();
      assert.equal(ring.result, -9);
      assert.throws(() => ring.finish(), /none is under way/);
      assert.throws(() => ring.begin(false, fd, 0, memory.length, block, 0), /outside of its memory/);
    } finally {
      closeSync(fd);
    }
  },
});
