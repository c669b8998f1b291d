import assert from "node:assert/strict";
import { SafetensorsReader, SafetensorsWriter } from "../../src/interop/safetensors.ts";
import { missingModule, runPython } from "../support/python.ts";
import { TemporaryDirectory } from "../support/temporary.ts";

/** A file with this header, in front of so many bytes of tensors. */
function fileOf(header: unknown, bytes: number, length?: number): Uint8Array {
  const text = new TextEncoder().encode(typeof header === "string" ? header : JSON.stringify(header));
  const file = new Uint8Array(8 + text.length + bytes);
  new DataView(file.buffer).setBigUint64(0, BigInt(length ?? text.length), true);
  file.set(text, 8);
  return file;
}

const tensor = (begin: number, end: number, ...shape: number[]) => ({
  dtype: "F32",
  shape,
  data_offsets: [begin, end],
});

Deno.test("what was written is read, the bytes at a multiple of 8", () => {
  using directory = new TemporaryDirectory();
  const path = directory.join("file.safetensors");
  const values = Float32Array.of(1, -2, 0.5, 1e30, 5e-39, -0);
  {
    const specs = [{ name: "a", shape: [2, 2] }, { name: "none", shape: [0, 7] }, { name: "b", shape: [2] }];
    using writer = new SafetensorsWriter(path, specs.map((spec) => ({ ...spec, dtype: "F32" as const })), { x: "y" });
    writer.append(values.subarray(0, 3));
    writer.append(values.subarray(3));
    writer.commit();
  }
  using reader = new SafetensorsReader(path);
  assert.deepEqual([...reader.tensors.keys()], ["a", "none", "b"]);
  assert.equal(reader.tensors.get("a")!.at % 8, 0);
  const found = new Float32Array(3);
  reader.read(reader.tensors.get("a")!, 1, found);
  assert.deepEqual(found, values.slice(1, 4));
  reader.read(reader.tensors.get("b")!, 0, found.subarray(0, 2));
  assert.deepEqual(found.subarray(0, 2), values.subarray(4));
});

Deno.test("a file that was not committed is not there", () => {
  using directory = new TemporaryDirectory();
  {
    using writer = new SafetensorsWriter(directory.join("file"), [{ name: "a", dtype: "F32", shape: [2] }], {});
    writer.append(Float32Array.of(1));
    assert.throws(() => writer.commit(), /bytes of .* were written/);
  }
  assert.deepEqual([...Deno.readDirSync(directory.path)], []);
});

Deno.test("headers that are cut off, overlap, leave gaps or are huge are refused", () => {
  using directory = new TemporaryDirectory();
  const cases: [Uint8Array, RegExp][] = [
    [new Uint8Array(0), /too short/],
    [new Uint8Array(7), /too short/],
    [new Uint8Array(8), /its header is not JSON/],
    [fileOf({ a: tensor(0, 8, 2) }, 8, 1000), /it is not a safetensors file, or is truncated/],
    [fileOf({ a: tensor(0, 8, 2) }, 8, 2 ** 53), /it is not a safetensors file, or is truncated/],
    [fileOf({ a: tensor(0, 8, 2) }, 8, 20), /its header is not JSON/],
    [fileOf({ a: tensor(0, 8, 2) }, 7), /its tensors have 8 bytes, but the file has 7/],
    [fileOf({ a: tensor(0, 8, 2) }, 9), /its tensors have 8 bytes, but the file has 9/],
    [fileOf({ a: tensor(0, 8, 2), b: tensor(4, 12, 2) }, 12), /tensor "b" overlaps the one before/],
    [fileOf({ a: tensor(0, 8, 2), b: tensor(0, 8, 2) }, 8), /tensor "b" overlaps/],
    [fileOf({ a: tensor(0, 8, 2), b: tensor(12, 20, 2) }, 20), /tensor "b" leaves a gap/],
    [fileOf({ a: tensor(4, 12, 2) }, 12), /tensor "a" leaves a gap/],
    [fileOf({ a: tensor(0, 8, 3) }, 8), /tensor "a" of shape \(3\) has 8 bytes/],
    [fileOf({ a: tensor(8, 0, 2) }, 8), /tensor "a" of shape \(2\) has -8 bytes/],
    [fileOf({ a: tensor(0, 8, 2 ** 40, 2 ** 40, 2 ** 40) }, 8), /tensor "a" of shape/],
    [fileOf({ a: tensor(0, 8, -2) }, 8), /tensor "a" has shape\.0: /],
    [fileOf({ a: { ...tensor(0, 8, 2), dtype: "F31" } }, 8), /tensor "a" has dtype: /],
    [fileOf({ a: { ...tensor(0, 8, 2), more: 1 } }, 8), /tensor "a" has /],
    [fileOf({ a: 1 }, 0), /tensor "a" has /],
    [fileOf({ __metadata__: { a: 1 } }, 0), /__metadata__ in its header has values that are not text/],
    [fileOf([1], 0), /its header is not a JSON object/],
    [fileOf("null", 0), /its header is not a JSON object/],
    [fileOf('{"\xff', 0).fill(0xff, 9), /its header is not JSON/],
  ];
  const path = directory.join("file.safetensors");
  for (const [bytes, reason] of cases) {
    Deno.writeFileSync(path, bytes);
    assert.throws(
      () => new SafetensorsReader(path),
      (error: Error) =>
        error.name === "HotsetError" && error.message.startsWith(`Cannot read ${path}: `) && reason.test(error.message),
      String(reason),
    );
  }
  assert.throws(() => new SafetensorsReader(directory.join("absent")), /no such file/);
  assert.throws(() => new SafetensorsReader(directory.path), /it is not a file/);
});

const MISSING = missingModule("safetensors.numpy");

Deno.test({
  name: "the format's own library reads what was written" + (MISSING ? ` (skipped: ${MISSING})` : ""),
  ignore: MISSING !== undefined,
  async fn() {
    using directory = new TemporaryDirectory();
    const path = directory.join("file.safetensors");
    {
      const specs = [
        { name: "rows", dtype: "F32", shape: [2, 3] },
        { name: "values", dtype: "U32", shape: [2] },
      ] as const;
      using writer = new SafetensorsWriter(path, specs, { format: "pt" });
      writer.append(Float32Array.of(1, 2, 3, 4, 5, -0.25));
      writer.append(Uint32Array.of(7, 2 ** 32 - 1));
      writer.commit();
    }
    assert.deepEqual(await runPython(new URL("read_safetensors.py", import.meta.url), path), {
      rows: [[1, 2, 3], [4, 5, -0.25]],
      values: [7, 2 ** 32 - 1],
    });
  },
});
