import assert from "node:assert/strict";
import { BucketFileReader, BucketFileWriter } from "../../src/layout/bucket_file.ts";
import { createFile } from "../../src/storage/direct_file.ts";
import { TemporaryDirectory } from "../support/temporary.ts";

/** Words that a chunk takes of a stream. */
const PAYLOAD = (1 << 14) - 2;

/** Streams of lengths around whole chunks, appended to in turn in pieces of many lengths, one longer than a chunk. */
function write(path: string, create?: typeof createFile) {
  const streams = [0, 1, PAYLOAD - 1, PAYLOAD, PAYLOAD + 1, 3 * PAYLOAD + 7].map((length, s) =>
    Uint32Array.from({ length }, (_, i) => Math.imul(i + 1, 2 * s + 1))
  );
  using writer = new BucketFileWriter(path, streams.length, create);
  const done = new Array<number>(streams.length).fill(0);
  for (let piece = 1; done.some((count, s) => count < streams[s].length); piece = piece * 3 % 50_021) {
    streams.forEach((words, s) => {
      const end = Math.min(words.length, done[s] + piece);
      writer.append(s, words, done[s], end);
      done[s] = end;
    });
  }
  return { streams, places: writer.finish() };
}

Deno.test("streams of one file come back whole, whatever the pieces they were written in", () => {
  using directory = new TemporaryDirectory();
  for (const create of [undefined, createFile]) {
    const path = directory.join(`file-${create === undefined}`);
    const { streams, places } = write(path, create);
    using reader = new BucketFileReader(path);
    for (const s of [5, 0, 3, 4, 2, 1, 5]) {
      const target = new Uint32Array(streams[s].length + 9);
      reader.read(places[s], target, 4);
      assert.ok(target.subarray(4, 4 + streams[s].length).every((word, i) => word === streams[s][i]));
      assert.deepEqual([target[3], target[4 + streams[s].length]], [0, 0], "nothing is written beside them");
    }
  }
});

Deno.test("a file that changed after it was written, or lost its end, is not read", () => {
  using directory = new TemporaryDirectory();
  const path = directory.join("file");
  const { streams, places } = write(path);
  const target = new Uint32Array(streams[5].length);
  const whole = Deno.readFileSync(path);
  for (const at of [0, 4, 9]) { // the chunk before, the checksum, a word
    const changed = whole.slice();
    changed[changed.length - (1 << 16) + at] ^= 64;
    Deno.writeFileSync(path, changed);
    using reader = new BucketFileReader(path);
    assert.throws(() => reader.read(places[5], target, 0), {
      name: "HotsetError",
      message: `Cannot read ${path}: its content is not what was written; check the disk, then try again`,
    });
  }
  Deno.writeFileSync(path, whole.subarray(0, whole.length - 8));
  using reader = new BucketFileReader(path);
  assert.throws(() => reader.read(places[5], target, 0), /it ends before byte/);
});
