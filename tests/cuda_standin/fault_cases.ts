/** CUDA calls that fail during training; run in a process with the stand-in by cuda_standin_slow_test.ts. */
import assert from "node:assert/strict";
import { cublasSymbols } from "../../ffi/cublas.ts";
import { cublasLtSymbols } from "../../ffi/cublas_lt.ts";
import { cudaSymbols } from "../../ffi/cuda.ts";
import { cudartSymbols } from "../../ffi/cudart.ts";
import { openLibrary } from "../../ffi/library.ts";
import { cString } from "../../ffi/pointer.ts";
import { resolveConfig } from "../../src/config/config.ts";
import type { Dataset } from "../../src/dataset/dataset.ts";
import { HotsetError } from "../../src/errors.ts";
import type { Report } from "../../src/events/events.ts";
import { startRun } from "../../src/run/run.ts";
import { TemporaryDirectory } from "../support/temporary.ts";
import { tinyDataset } from "../support/tiny_dataset.ts";

const { symbols: standIn } = openLibrary({
  ...{ name: "the stand-in", environment: "HOTSET_CUDART", names: [], folders: [], install: "a process of its own" },
  symbols: {
    standin_fail: { parameters: ["buffer", "i32", "i32", "i32"], result: "void" },
    standin_calls: { parameters: ["buffer"], result: "i32" },
    standin_allocations: { parameters: [], result: "i32" },
    standin_repair: { parameters: [], result: "void" },
  },
});

function data(directory: TemporaryDirectory): Dataset {
  return tinyDataset(directory.join("data"), {
    samples: { train: 12 * 32, validation: 32, test: 32 },
    tableRows: [3, 40, 500],
    bags: false,
    denseFeatures: 5,
    seed: 3,
    skew: 6,
  });
}

/** Trains with the `number`-th call of a function failing. Returns the error, or undefined if the run succeeds. */
async function errorOf(
  directory: TemporaryDirectory,
  dataset: Dataset,
  mode: "fae" | "gpu",
  fail: { name: string; number: number; code: number },
  report: Report = () => {},
): Promise<Error | undefined> {
  const config = resolveConfig("kaggle", {
    ...{ mode, device: "cuda", optimizer: "adagrad", dim: 8, bottom: [8], top: [8, 1], batchSize: 32, ranks: 1 },
    ...(mode === "fae" ? { hotMemory: 12_000 } : { activations: "ptx", precision: "tf32" }),
  });
  const out = directory.join(`run-${crypto.randomUUID()}`);
  standIn.standin_fail(cString(fail.name), fail.number, fail.code, -1);
  try {
    await startRun(config, dataset, { out, report });
    return undefined;
  } catch (error) {
    if (!(error instanceof HotsetError)) throw error;
    return error;
  } finally {
    standIn.standin_repair();
  }
}

const calls = (name: string) => standIn.standin_calls(cString(name));

for (const mode of ["gpu", "fae"] as const) {
  Deno.test(`mode ${mode}: memory that runs out at any allocation is told in one line, and all other memory is freed`, async () => {
    using directory = new TemporaryDirectory();
    const dataset = data(directory);
    for (
      const [name, text] of [["cudaMalloc", /^Cannot allocate .+: \d+ bytes requested/], [
        "cudaHostAlloc",
        /Alloc/,
      ]] as const
    ) {
      assert.equal(await errorOf(directory, dataset, mode, { name, number: -1, code: 0 }), undefined);
      const count = calls(name);
      assert.ok(count > 1, name);
      for (let number = 1; number <= count; number++) {
        const error = await errorOf(directory, dataset, mode, { name, number, code: 2 });
        assert.match(error!.message, text, `${name} ${number} of ${count}`);
        assert.ok(!error!.message.includes("\n"), error!.message);
        assert.equal(standIn.standin_allocations(), 0, `${name} ${number}: ${error!.message}`);
      }
    }
  });
}

for (const mode of ["gpu", "fae"] as const) {
  Deno.test(`mode ${mode}: a run whose slots cannot be pinned goes on with a note, and frees all memory`, async () => {
    using directory = new TemporaryDirectory();
    const notes: string[] = [];
    const report: Report = (event) => void (event.event === "note" && notes.push(event.text));
    const fail = { name: "cudaHostRegister", number: 1, code: 2 };
    assert.equal(await errorOf(directory, data(directory), mode, fail, report), undefined);
    assert.ok(
      notes.some((note) => /^Batches are copied once more .*cudaHostRegister: .*the test wants it$/.test(note)),
    );
    assert.deepEqual([calls("cudaHostRegister"), calls("cudaHostUnregister"), standIn.standin_allocations()], [
      1,
      0,
      0,
    ]);
  });
}

/**
 * Calls that answer questions, whose errors the next call tells too, that a run can do without, and that release: none ends
 * it.
 */
const WITHOUT_END =
  /Destroy|Free|HostRegister|HostUnregister|StreamQuery|Unload|ErrorName|ErrorString|StatusName|StatusString|Version|GetDeviceCount|DeviceGetAttribute|Property/;

Deno.test("any call that fails ends the run with its name and cause in one line, and frees all memory", async () => {
  using directory = new TemporaryDirectory();
  const dataset = data(directory);
  assert.equal(await errorOf(directory, dataset, "fae", { name: "none", number: -1, code: 0 }), undefined);
  const functions = { ...cudartSymbols, ...cudaSymbols, ...cublasSymbols, ...cublasLtSymbols };
  const made = Object.keys(functions).concat("copy", "fill", "product")
    .map((name) => ({ name, count: calls(name) })).filter(({ name, count }) => count > 0 && !WITHOUT_END.test(name));
  assert.ok(made.length > 15, made.map(({ name }) => name).join());
  for (const { name, count } of made) {
    for (const number of new Set([1, Math.ceil(count / 2)])) {
      const error = await errorOf(directory, dataset, "fae", { name, number, code: 719 });
      const { message } = error ?? assert.fail(`a run with call ${number} of ${name} failing succeeds`);
      assert.match(message, /^Cannot .*the test wants it/, `${name} ${number}`);
      assert.ok(!message.includes("\n"), message);
      if (!/^cu/.test(name)) continue; // an operation on a stream: the device is broken, and frees nothing
      assert.match(message, new RegExp(name), `${name} ${number}`);
      assert.equal(standIn.standin_allocations(), 0, `${name} ${number}: ${message}`);
    }
  }
});
