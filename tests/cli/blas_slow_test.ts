/**
 * The library of matrix products on a CPU: selection, missing libraries, messages, and its entry in the run's record.
 */
import assert from "node:assert/strict";
import { absent } from "../support/libraries.ts";
import { jsonLines, Workplace } from "./support.ts";

const MODEL = ["--arch-mlp-bot", "13-8", "--arch-mlp-top", "4-1", "--batch-size", "64", "--ranks", "2"];
/** A layer of it is multiplied in bf16: that above the interaction. */
const WIDE = [...MODEL, "--arch-mlp-top", "64-1"];
/** A machine without libraries; where one is named, nothing is fetched. */
const NOTHING = { HOTSET_OPENBLAS: "/nothing.so", HOTSET_ONEDNN: "/nothing.so", HOTSET_ONNXRUNTIME: "/nothing.so" };

const skipped = (blas: "ort") => absent(blas) === undefined ? "" : ` (skipped: ${absent(blas)})`;

const deviceOf = (place: Workplace, run: string) =>
  JSON.parse(Deno.readTextFileSync(place.join(run, "run.json"))).device;

Deno.test("without a library WASM kernels multiply, and one note says why; a library that is asked for must be there", async () => {
  using place = new Workplace();
  await place.log("log.tsv", 300);
  const train = ["train", "log.tsv", "--device", "cpu", ...MODEL];
  const { code, stderr } = await place.runWith(NOTHING, ...train, "--out", "run");
  assert.equal(code, 0, stderr);
  const notes = stderr.split("\n").filter((line) => /matrix products/.test(line));
  assert.deepEqual(notes, [
    "Using WASM kernels for matrix products, slower than a library: Cannot load ONNX Runtime: none of these could be opened " +
    "(doctor says how to install one)",
  ]);
  assert.equal(deviceOf(place, "run"), "cpu (WASM SIMD)");
  const refused = await place.runWith(NOTHING, ...train, "--blas", "ort", "--out", "other");
  assert.equal(refused.code, 1);
  assert.match(refused.stderr, /Cannot load ONNX Runtime[^]*Install it with: deno install/);
});

Deno.test({
  name: `a run goes on with its library, or is refused, unless another is named${skipped("ort")}`,
  ignore: absent("ort") !== undefined,
  fn: async () => {
    using place = new Workplace();
    await place.log("log.tsv", 300);
    await place.succeed("train", "log.tsv", "--blas", "ort", "--device", "cpu", ...MODEL, "--out", "run");
    Deno.removeSync(place.join("run/last"), { recursive: true });
    Deno.removeSync(place.join("run/best"), { recursive: true });
    const resume = ["train", "--resume", "--out", "run"];
    const refused = await place.runWith(NOTHING, ...resume);
    assert.equal(refused.code, 1);
    assert.match(
      refused.stderr,
      /^error: Cannot resume run with ort, which the run has used so far; install it, or continue with another library and different last bits: --resume --blas auto\. Cannot load ONNX Runtime/m,
    );
    const changed = await place.runWith(NOTHING, ...resume, "--blas", "auto");
    assert.equal(changed.code, 0, changed.stderr);
    assert.match(changed.stderr, /Continuing with cpu \(WASM SIMD\) instead of cpu \(ONNX Runtime/);
    const again = await place.runWith(NOTHING, "reproduce", "run");
    assert.equal(again.code, 1);
    assert.match(
      again.stderr,
      /^error: Cannot reproduce run without ort, which the run used for matrix products\. Cannot load/m,
    );
  },
});

Deno.test({
  name: `a run records the library that multiplied${skipped("ort")}`,
  ignore: absent("ort") !== undefined,
  fn: async () => {
    using place = new Workplace();
    await place.log("log.tsv", 300);
    const train = ["train", "log.tsv", "--device", "cpu", ...MODEL];
    await place.succeed(...train, "--blas", "ort", "--out", "run");
    assert.match(deviceOf(place, "run"), /^cpu \(ONNX Runtime \d+\.\d+\.\d+\)$/);
    const others = { HOTSET_OPENBLAS: "/nothing.so", HOTSET_ONEDNN: "/nothing.so" };
    const { code, stderr } = await place.runWith(others, ...train, "--out", "other");
    assert.equal(code, 0, stderr);
    assert.equal(deviceOf(place, "other"), deviceOf(place, "run"), "auto takes it where no other is found");
  },
});

Deno.test("bf16 is refused before anything is prepared where the library is missing", async () => {
  using place = new Workplace();
  await place.log("log.tsv", 300);
  const bf16 = [...MODEL, "--device", "cpu", "--precision", "bf16", "--out", "run"];
  const { code, stderr, stdout } = await place.runWith(NOTHING, "train", "log.tsv", ...bf16);
  assert.deepEqual([code, stdout], [1, ""]);
  assert.match(stderr, /^error: Cannot load oneDNN[^]*Install it with: apt-get install libdnnl2[^]*--precision fp32/);
  assert.deepEqual(place.files(), ["log.tsv"]);
});

const noOneDnn = absent("onednn");
Deno.test({
  name: `bf16 is refused where the processor has none${noOneDnn === undefined ? "" : ` (skipped: ${noOneDnn})`}`,
  ignore: noOneDnn !== undefined,
  fn: async () => {
    using place = new Workplace();
    await place.log("log.tsv", 300);
    const bf16 = [...MODEL, "--device", "cpu", "--precision", "bf16", "--out", "run"];
    const { code, stderr } = await place.runWith({ DNNL_MAX_CPU_ISA: "AVX2" }, "train", "log.tsv", ...bf16);
    assert.equal(code, 1);
    assert.match(
      stderr,
      /^error: Cannot multiply in bf16: .* AVX512_BF16 or AMX, .*; --precision fp32 does not need it$/m,
    );
    assert.deepEqual(place.files(), ["log.tsv"]);
  },
});

const noBf16 = absent("bf16");
Deno.test({
  name: `a run in bf16 has losses near those in fp32, and says so${
    noBf16 === undefined ? "" : ` (skipped: ${noBf16})`
  }`,
  ignore: noBf16 !== undefined,
  fn: async () => {
    using place = new Workplace();
    await place.log("log.tsv", 300);
    const loss = async (...flags: string[]) => {
      const out = flags.join("");
      const lines = jsonLines(
        await place.succeed("train", "log.tsv", "--device", "cpu", ...WIDE, ...flags, "--json", "--out", out),
      );
      return { loss: Number(lines.findLast(({ event }) => event === "progress")!.loss), device: deviceOf(place, out) };
    };
    const single = await loss("--blas", "onednn");
    const half = await loss("--precision", "bf16");
    assert.match(single.device, /^cpu \(oneDNN \d+\.\d+\.\d+( [\w-]+)?\)$/);
    assert.match(half.device, /^cpu \(oneDNN \d+\.\d+\.\d+ (AVX512_BF16|AMX), bf16\)$/);
    assert.notEqual(half.loss, single.loss);
    assert(Math.abs(half.loss - single.loss) < 1e-2, `${half.loss}, in fp32 ${single.loss}`);
  },
});

Deno.test({
  name: `scores in bf16 are near those in fp32${noBf16 === undefined ? "" : ` (skipped: ${noBf16})`}`,
  ignore: noBf16 !== undefined,
  fn: async () => {
    using place = new Workplace();
    await place.log("log.tsv", 300);
    await place.succeed("train", "log.tsv", "--device", "cpu", ...WIDE, "--out", "run");
    const scores = async (...flags: string[]) => {
      const lines = jsonLines(await place.succeed("predict", "run", "log.tsv", "--json", ...flags));
      return lines.filter(({ event }) => event === "score").map(({ probability }) => Number(probability));
    };
    const single = await scores("--blas", "onednn");
    const half = await scores("--precision", "bf16");
    assert.equal(single.length, 300);
    assert.notDeepEqual(half, single);
    for (const [row, score] of half.entries()) assert(Math.abs(score - single[row]) < 1e-2, `row ${row}`);
  },
});
