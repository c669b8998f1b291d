/** What multiplies matrices on a CPU: chosen, found, told and recorded. */
import assert from "node:assert/strict";
import { absent } from "../support/libraries.ts";
import { Workplace } from "./support.ts";

const MODEL = ["--arch-mlp-bot", "13-8", "--arch-mlp-top", "4-1", "--batch-size", "64", "--ranks", "2"];
/** A machine without libraries; where one is named, nothing is fetched. */
const NOTHING = { HOTSET_OPENBLAS: "/nothing.so", HOTSET_ONNXRUNTIME: "/nothing.so" };

const deviceOf = (place: Workplace, run: string) =>
  JSON.parse(Deno.readTextFileSync(place.join(run, "run.json"))).device;

Deno.test("without a library WASM kernels multiply, and one note says why; a library that is asked for must be there", async () => {
  using place = new Workplace();
  place.log("log.tsv", 300);
  const train = ["train", "log.tsv", "--device", "cpu", ...MODEL];
  const { code, stderr } = await place.runWith(NOTHING, ...train, "--out", "run");
  assert.equal(code, 0, stderr);
  const notes = stderr.split("\n").filter((line) => /multipl/.test(line));
  assert.deepEqual(notes, [
    "WASM kernels multiply matrices, slower than a library: Cannot load ONNX Runtime: none of these could be opened " +
    "(doctor says how to get one)",
  ]);
  assert.equal(deviceOf(place, "run"), "cpu (WASM SIMD)");
  const refused = await place.runWith(NOTHING, ...train, "--blas", "ort", "--out", "other");
  assert.equal(refused.code, 1);
  assert.match(refused.stderr, /Cannot load ONNX Runtime[^]*Install it with: deno install/);
});

Deno.test({
  name: `a run records the library that multiplied${absent("ort") === undefined ? "" : ` (skipped: ${absent("ort")})`}`,
  ignore: absent("ort") !== undefined,
  fn: async () => {
    using place = new Workplace();
    place.log("log.tsv", 300);
    const train = ["train", "log.tsv", "--device", "cpu", ...MODEL];
    await place.succeed(...train, "--blas", "ort", "--out", "run");
    assert.match(deviceOf(place, "run"), /^cpu \(ONNX Runtime \d+\.\d+\.\d+\)$/);
    const { code, stderr } = await place.runWith({ HOTSET_OPENBLAS: "/nothing.so" }, ...train, "--out", "other");
    assert.equal(code, 0, stderr);
    assert.equal(deviceOf(place, "other"), deviceOf(place, "run"), "auto takes it where OpenBLAS is not found");
  },
});
