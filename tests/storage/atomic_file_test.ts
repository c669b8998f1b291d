/** Files and directories appear under their names only when they are complete. */
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { AtomicFile, AtomicPath } from "../../src/storage/atomic_file.ts";
import { AtomicDirectory, removeWhole } from "../../src/storage/atomic_directory.ts";
import { writeAll } from "../../src/storage/output_file.ts";
import { leftoversIn, removeAllLeftovers, removeLeftovers } from "../../src/storage/partial.ts";
import { TemporaryDirectory } from "../support/temporary.ts";
import { waitFor } from "../support/wait_for.ts";

const bytes = new TextEncoder().encode("0123456789");
const namesIn = (place: TemporaryDirectory) => [...Deno.readDirSync(place.path)].map(({ name }) => name).sort();

Deno.test("all bytes are written, however few a call takes", () => {
  const written: number[] = [];
  const file = {
    writeSync(part: Uint8Array): number {
      written.push(...part.subarray(0, 3));
      return Math.min(3, part.length);
    },
  };
  writeAll(file, bytes);
  assert.deepEqual(written, [...bytes]);
});

Deno.test("a file replaces another one when it is complete, and not before", () => {
  using place = new TemporaryDirectory();
  const path = place.join("out");
  Deno.writeTextFileSync(path, "before");
  {
    using file = new AtomicFile(path);
    file.append(bytes);
    file.append(Float32Array.of(1));
    file.align(8);
    assert.equal(file.bytes, 16);
    assert.equal(Deno.readTextFileSync(path), "before");
    file.commit();
  }
  assert.deepEqual([...Deno.readFileSync(path)], [...bytes, 0, 0, 0x80, 0x3f, 0, 0]);
  {
    using file = new AtomicFile(path);
    file.append(bytes);
  }
  assert.equal(Deno.statSync(path).size, 16);
  AtomicFile.write(place.join("folder/words"), [bytes, Uint32Array.of(7)]);
  assert.equal(Deno.statSync(place.join("folder/words")).size, 14);
  assert.deepEqual(namesIn(place), ["folder", "out"]);
});

Deno.test("a file that cannot get its name leaves nothing, and the error says what was being done", () => {
  using place = new TemporaryDirectory();
  {
    using output = new AtomicPath(place.join("out"), "keep it");
    Deno.writeFileSync(output.temporary, bytes);
    Deno.mkdirSync(place.join("out/in"), { recursive: true });
    assert.throws(() => output.commit(), { name: "HotsetError", message: /^Cannot keep it: / });
  }
  assert.throws(() => new AtomicFile(place.join("out")), {
    name: "HotsetError",
    message: `Cannot write ${place.join("out")}: a directory has that name`,
  });
  assert.deepEqual(namesIn(place), ["out"]);
});

Deno.test("a directory replaces another one when it is complete, and not before", () => {
  using place = new TemporaryDirectory();
  const path = place.join("out");
  const fill = (text: string, isComplete: boolean) => {
    using directory = new AtomicDirectory(path, () => {});
    Deno.writeTextFileSync(`${directory.temporary}/${text}`, text);
    if (isComplete) directory.commit();
  };
  fill("first", true);
  fill("second", false);
  assert.deepEqual(namesIn(place), ["out"]);
  assert.deepEqual([...Deno.readDirSync(path)].map(({ name }) => name), ["first"]);
  fill("third", true);
  assert.deepEqual([...Deno.readDirSync(path)].map(({ name }) => name), ["third"]);
  assert.throws(() => new AtomicDirectory(path, () => assert.fail("it stays")), /it stays/);
  removeWhole(path);
  assert.deepEqual(namesIn(place), []);
});

Deno.test("two writers of a directory in one process do not remove each other's files; the last one to end replaces", () => {
  using place = new TemporaryDirectory();
  const path = place.join("out");
  using first = new AtomicDirectory(path, () => {});
  Deno.writeTextFileSync(`${first.temporary}/first`, "");
  using second = new AtomicDirectory(path, () => {});
  Deno.writeTextFileSync(`${second.temporary}/second`, "");
  removeAllLeftovers(place.path);
  first.commit();
  second.commit();
  assert.deepEqual(namesIn(place), ["out"]);
  assert.deepEqual([...Deno.readDirSync(path)].map(({ name }) => name), ["second"]);
});

Deno.test("two writers of a file in one process do not write over each other; the last one to end replaces", () => {
  using place = new TemporaryDirectory();
  const path = place.join("out");
  using first = new AtomicFile(path);
  first.append(bytes);
  using second = new AtomicFile(path);
  second.append(bytes.subarray(0, 3));
  removeAllLeftovers(place.path);
  first.commit();
  assert.deepEqual([...Deno.readFileSync(path)], [...bytes]);
  second.commit();
  assert.deepEqual([...Deno.readFileSync(path)], [...bytes.subarray(0, 3)]);
  assert.deepEqual(namesIn(place), ["out"]);
});

Deno.test("an old directory comes back if the new one cannot get its name", () => {
  using place = new TemporaryDirectory();
  const path = place.join("out");
  Deno.mkdirSync(path);
  Deno.writeTextFileSync(`${path}/old`, "");
  {
    using directory = new AtomicDirectory(path, () => {});
    Deno.removeSync(directory.temporary);
    assert.throws(() => directory.commit(), Deno.errors.NotFound);
    Deno.mkdirSync(directory.temporary);
  }
  assert.deepEqual([...Deno.readDirSync(path)].map(({ name }) => name), ["old"]);
  assert.deepEqual(namesIn(place), ["out"]);
});

Deno.test("what a process of another host left stays until it is asked for, whatever runs here", () => {
  using place = new TemporaryDirectory();
  const left = [".a.partial-1.a.b.c.elsewhere+x", ".b.partial-1.a.b.c.elsewhere+x.replaced"];
  for (const name of left) Deno.mkdirSync(place.join(name));
  removeLeftovers(place.join("a"));
  removeAllLeftovers(place.path);
  assert.deepEqual(namesIn(place), left);
  const found = leftoversIn(place.path).map(({ target, host, isOnlyCopy }) => [target, host, isOnlyCopy]);
  assert.deepEqual(found.sort(), [[place.join("a"), "elsewhere", false], [place.join("b"), "elsewhere", true]]);
  removeAllLeftovers(place.path, true);
  assert.deepEqual(namesIn(place), ["b"]);
});

Deno.test("what killed writers left goes; the old directory comes back where there is no new one", () => {
  using place = new TemporaryDirectory();
  const none = 99999999; // no process has this number
  for (const name of [`.a.partial-${none}-x`, `.a.partial-${none}-y.replaced`, `.b.partial-${none}-removed`, "c"]) {
    Deno.mkdirSync(place.join(name));
    Deno.writeTextFileSync(place.join(name, "file"), name);
  }
  removeAllLeftovers(place.path);
  assert.deepEqual(namesIn(place), ["a", "c"]);
  assert.equal(Deno.readTextFileSync(place.join("a/file")), `.a.partial-${none}-y.replaced`);
});

Deno.test({
  name: "what an ended process left goes even if its parent has not yet asked how it ended",
  ignore: Deno.build.os !== "linux",
  fn: async () => {
    using place = new TemporaryDirectory();
    const [file, go] = [place.join("pid"), place.join("go")];
    // The second program takes the place of the parent, which might ask, and never does; the child ends after that.
    const child = `while [ ! -e ${go} ]; do sleep 0.01; done`;
    const parent = new Deno.Command("sh", { args: ["-c", `${child} & echo $! > ${file}; exec sleep 30`] }).spawn();
    await waitFor(() => existsSync(file) && Deno.readTextFileSync(file) !== "");
    await waitFor(() => Deno.readTextFileSync(`/proc/${parent.pid}/comm`) === "sleep\n");
    const ended = parseInt(Deno.readTextFileSync(file));
    Deno.writeTextFileSync(go, "");
    await waitFor(() => Deno.readTextFileSync(`/proc/${ended}/stat`).includes(" Z "));
    for (const pid of [ended, parent.pid]) Deno.mkdirSync(place.join(`.a.partial-${pid}-x`));
    removeAllLeftovers(place.path);
    assert.deepEqual(namesIn(place), [`.a.partial-${parent.pid}-x`, "go", "pid"]);
    parent.kill("SIGKILL");
    await parent.status;
  },
});
