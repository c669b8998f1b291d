import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { alignedBytes, createFile } from "../../src/storage/direct_file.ts";
import { Random } from "../../src/random.ts";
import { canWriteDirectly, directness } from "../support/direct.ts";
import { TemporaryDirectory } from "../support/temporary.ts";

function writeAll(path: string, parts: Uint8Array[]): void {
  const file = createFile(path);
  for (const part of parts) for (let done = 0; done < part.length;) done += file.writeSync(part.subarray(done));
  file.syncDataSync();
  file.close();
}

Deno.test("a file holds what was appended, whatever the lengths and places in memory", () => {
  using directory = new TemporaryDirectory();
  const random = new Random(1);
  const memory = alignedBytes(3 << 20);
  for (let i = 0; i < memory.length; i++) memory[i] = random.next();
  const lists: Uint8Array[][] = [
    [],
    [memory.subarray(0, 1)],
    [memory.subarray(0, 4096)],
    [memory.subarray(0, 8192), memory.subarray(8192, 8195)],
    [memory],
    [memory.subarray(1)],
    [memory.subarray(0, 5000), memory.subarray(4096, 2 << 20), memory.subarray(4096, 4096 * 7)],
    Array.from({ length: 30 }, () => {
      const begin = random.below(memory.length);
      return memory.subarray(begin, begin + random.below(300_000));
    }),
  ];
  lists.forEach((parts, i) => {
    const path = directory.join(`${i}`);
    writeAll(path, parts);
    const expected = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
    let at = 0;
    for (const part of parts) {
      expected.set(part, at);
      at += part.length;
    }
    assert.ok(readFileSync(path).equals(expected), `list ${i}`);
  });
});

Deno.test("files go past the system's cache where the file system can do that", () => {
  using directory = new TemporaryDirectory();
  const file = createFile(directory.join("direct"));
  assert.deepEqual(directness("/direct"), [canWriteDirectly(directory.path)]);
  file.close();
});

Deno.test("a file that is there is not written over", () => {
  using directory = new TemporaryDirectory();
  Deno.writeTextFileSync(directory.join("there"), "precious");
  assert.throws(() => createFile(directory.join("there")));
  assert.equal(Deno.readTextFileSync(directory.join("there")), "precious");
});
