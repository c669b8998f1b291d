/** Memory, transfers, recorded sequences and errors of the CUDA backend. */
import assert from "node:assert/strict";
import { type Buffer, Header, HEADER_WORDS } from "../../src/backend/backend.ts";
import { CudaBackend } from "../../src/backend/cuda/backend.ts";
import { CudaDevice } from "../../src/backend/cuda/device.ts";
import type { CudaLibraries } from "../../src/backend/cuda/libraries.ts";
import { KernelModule } from "../../src/backend/cuda/kernel.ts";
import type { DeviceBuffer } from "../../src/backend/cuda/memory.ts";
import { cudaFindings } from "../../src/backend/cuda/findings.ts";
import { openCuda } from "../../src/backend/cuda/open.ts";
import { ReferenceBackend } from "../../src/backend/reference/reference.ts";
import { CudaError } from "../../ffi/cuda_error.ts";
import { LibraryError } from "../../ffi/library.ts";
import { HotsetError } from "../../src/errors.ts";
import { resolveConfig, type TrainConfig } from "../../src/config/config.ts";
import { expectPlacement } from "../../src/ranks/placement.ts";
import { testDevice } from "../support/cuda_device.ts";

const SLOT_WORDS = 1 << 20;

function words(count: number, seed: number): Uint32Array {
  return Uint32Array.from({ length: count }, (_, i) => Math.imul(i + seed, 0x9e3779b1) >>> 0);
}

Deno.test("a backend frees everything it made: the emulated device finds no leak", () => {
  for (const activations of ["ptx", "cudnn", "cublaslt"] as const) {
    const backend = openCuda({ device: "emulated", activations });
    backend.allocate(10, "test");
    const y = backend.allocate(6, "y"), bias = backend.allocate(3, "bias"), x = backend.allocate(2, "x");
    const linear = () => backend.linear({ inputs: 1, outputs: 3, activation: "relu" }, 2, x, bias, bias, y);
    backend.repeatable(linear)();
    backend[Symbol.dispose](); // throws if anything is left
  }
});

Deno.test("buffers begin as zeros, share memory with their views, and end with their backend", () => {
  const backend = openCuda({ device: testDevice });
  const buffer = backend.allocate(8, "some rows");
  const values = new Uint32Array(8).fill(9);
  backend.download(buffer, values);
  assert.deepEqual([...values], [0, 0, 0, 0, 0, 0, 0, 0]);
  const view = backend.view(buffer, 2, 3);
  backend.upload(new Uint32Array([1, 2, 3]), view);
  backend.upload(new Uint32Array([7]), backend.view(view, 1, 1));
  backend.download(buffer, values);
  assert.deepEqual([...values], [0, 0, 1, 7, 3, 0, 0, 0]);
  assert.throws(() => backend.view(buffer, 6, 3), RangeError);
  assert.throws(() => backend.upload(new Uint32Array(9), buffer), /Cannot upload 36 bytes: some rows has 32/);
  backend[Symbol.dispose]();
  assert.throws(() => (buffer as DeviceBuffer).address, ReferenceError);
  assert.throws(() => (view as DeviceBuffer).address, /Cannot use some rows: its memory was freed/);
});

Deno.test("device and pinned buffers free their memory once and then throw ReferenceError", () => {
  using device = new CudaDevice(testDevice);
  const buffer = device.allocate(4, "short-lived");
  buffer[Symbol.dispose]();
  buffer[Symbol.dispose]();
  assert.throws(() => buffer.address, ReferenceError);
  const pinned = device.allocatePinned(16);
  pinned[Symbol.dispose]();
  pinned[Symbol.dispose]();
  assert.throws(() => pinned.bytes, ReferenceError);
  device.synchronize();
});

Deno.test("uploads longer than a slot arrive whole, and their source may be reused at once", () => {
  for (const copiesFirst of [false, true]) {
    using backend = openCuda({ device: testDevice, emulated: { copiesFirst } });
    const count = 2 * SLOT_WORDS + 77;
    const source = words(count, 1), target = backend.allocate(count, "table");
    backend.upload(source, target);
    source.fill(0);
    const values = new Uint32Array(count);
    backend.download(target, values);
    assert.deepEqual(values, words(count, 1));
  }
});

Deno.test("a recorded step sees each upload before it and none after it, in either order of copies", () => {
  for (const copiesFirst of [false, true]) {
    using backend = openCuda({ device: testDevice, emulated: { copiesFirst } });
    const header = backend.allocate(HEADER_WORDS, "header");
    const [parameters, gradients] = [backend.allocate(4, "parameters"), backend.allocate(4, "gradients")];
    const upload = (rate: number, gradient: number) => {
      const head = new Float32Array(HEADER_WORDS);
      head[Header.learningRate] = rate;
      backend.upload(head, header);
      backend.upload(new Float32Array(4).fill(gradient), gradients);
    };
    upload(1, 1);
    const step = backend.repeatable(() => backend.updateDense("sgd", 4, header, parameters, gradients, undefined));
    for (let i = 2; i <= 6; i++) { // nothing waits in between
      upload(i, 10);
      step();
    }
    const values = new Float32Array(4);
    backend.download(parameters, values);
    assert.deepEqual([...values], new Array(4).fill(-(1 + 10 * (2 + 3 + 4 + 5 + 6))));
    assert.deepEqual([backend.counters.launches, backend.counters.graphLaunches], [1, 5]);
    assert.equal(backend.counters.bytesToDevice, 6 * 4 * (HEADER_WORDS + 4));
    assert.equal(backend.counters.bytesToHost, 16);
  }
});

Deno.test("a sequence that repeats may not copy", () => {
  using backend = openCuda({ device: testDevice });
  const buffer = backend.allocate(4, "test");
  let recording = false;
  assert.throws(() =>
    backend.repeatable(() => {
      if (recording) backend.upload(new Uint32Array(4), buffer);
      recording = true;
    }), /Cannot upload test: a recorded sequence may not copy/);
  backend.upload(new Uint32Array(4), buffer); // recording has ended
  backend.synchronize();
});

Deno.test("what fails while a sequence is recorded is told, also where it ended the recording", () => {
  using backend = openCuda({ device: testDevice });
  const { device } = backend;
  let calls = 0;
  const sequence = () => {
    if (calls++ === 0) return;
    device.made((slot) => device.libraries.runtime.cudaStreamEndCapture(device.stream, slot));
    throw new HotsetError("the first of the errors");
  };
  assert.throws(() => backend.repeatable(sequence), /^HotsetError: the first of the errors$/);
  assert.equal(device.recording, false);
});

Deno.test("memory that runs out says bytes requested, in use and free, and which flags to lower", () => {
  using backend = openCuda({ device: "emulated", emulated: { memoryBytes: 64 << 20 } });
  assert.throws(() => backend.allocate(10 << 20, "the hot rows"), (error: unknown) => {
    assert.ok(error instanceof HotsetError);
    assert.match(error.message, /^Cannot allocate the hot rows: 41943040 bytes requested, \d+ in use by this run/);
    assert.match(error.message, /\d+ of 67108864 free on emulated device; lower --hot-memory or --batch-size$/);
    return true;
  });
  backend.allocate(100, "something small");
});

Deno.test("a device is idle when its operations are over, or one has failed, and not before", () => {
  using backend = openCuda({ device: testDevice });
  assert.equal(backend.isIdle, true);
  const sum = backend.allocate(4, "sum"), x = backend.allocate(4, "x");
  backend.upload(new Float32Array(4).fill(1), x);
  for (let i = 0; i < 20; i++) backend.add(4, x, sum);
  let asked = 0;
  while (!backend.isIdle) asked++;
  if (testDevice === "emulated") assert.ok(asked >= 20, `${asked}`); // an operation each time it is asked
  const values = new Float32Array(4);
  backend.download(sum, values);
  assert.deepEqual([...values], [20, 20, 20, 20]);

  using faulty = openCuda({ device: "emulated" });
  const table = faulty.allocate(8, "table"), indices = faulty.allocate(1, "indices"), out = faulty.allocate(4, "out");
  faulty.upload(new Uint32Array([2]), indices);
  faulty.pool(1, 4, table, indices, undefined, out);
  while (!faulty.isIdle);
  assert.throws(() => faulty.synchronize(), /out of bounds/);
});

Deno.test("a fault on the device is a HotsetError that says what happened where", () => {
  using backend = openCuda({ device: "emulated" });
  const table = backend.allocate(8, "table"),
    indices = backend.allocate(1, "indices"),
    out = backend.allocate(4, "out");
  backend.upload(new Uint32Array([2]), indices);
  backend.pool(1, 4, table, indices, undefined, out);
  assert.throws(() => backend.synchronize(), (error: unknown) => {
    assert.ok(error instanceof HotsetError);
    assert.match(
      error.message,
      /Cannot run on the emulated device: cudaStreamSynchronize: .*gather_4: .*out of bounds/,
    );
    return true;
  });
});

Deno.test("buffers of another backend and launchers that disagree with their PTX are refused", () => {
  using backend = openCuda({ device: testDevice });
  const foreign = new ReferenceBackend().allocate(4, "test");
  assert.throws(() => backend.upload(new Uint32Array(4), foreign), TypeError);
  using device = new CudaDevice(testDevice);
  const ptx = new URL("../../src/backend/cuda/kernels/scatter.ptx", import.meta.url);
  const module = new KernelModule(device, ptx);
  assert.throws(
    () => module.kernel("scatter_4", ["u64", "u64", "u32", "u32", "u32"]),
    /Cannot use kernel scatter_4: its parameters are \(u64,u64,u64,u32,u32\)/,
  );
  assert.throws(() => module.kernel("gather_4", ["u64"]), TypeError);
  const kernel = module.kernel("scatter_4", ["u64", "u64", "u64", "u32", "u32"]);
  assert.throws(() => kernel.number(2, 5), /Cannot set argument 2 of a kernel to a number: .*\(u64,u64,u64,u32,u32\)/);
  assert.throws(() => kernel.buffer(5, undefined), /Cannot set argument 5 of a kernel to an address/);
});

Deno.test("the same inputs give the same bits", () => {
  const bits = () => {
    using backend = openCuda({ device: testDevice });
    const random = (count: number, seed: number) => {
      const buffer = backend.allocate(count, "test");
      backend.upload(Float32Array.from(words(count, seed), (word) => word / 2 ** 31 - 1), buffer);
      return buffer;
    };
    const y = backend.allocate(40 * 5, "y");
    const [dX, dWeight, dBias] = [7 * 40, 35, 5].map((count) => backend.allocate(count, "gradients"));
    const shape = { inputs: 7, outputs: 5, activation: "sigmoid" } as const;
    backend.linear(shape, 40, random(280, 1), random(35, 2), random(5, 3), y);
    const [x, weight, dY] = [random(280, 1), random(35, 2), random(200, 4)];
    backend.linearBackward(shape, 40, { x, weight, y, dY, dX, dWeight, dBias });
    return [y, dX, dWeight, dBias].map((buffer) => {
      const values = new Uint32Array(buffer.words);
      backend.download(buffer, values);
      return values;
    });
  };
  assert.deepEqual(bits(), bits());
});

/** A layer of 2 samples, 3 inputs and 2 outputs, by kernels, and by cuBLASLt as `change` leaves it; and its launches. */
function layerBy(change: (libraries: CudaLibraries) => Partial<CudaLibraries>, other: "auto" | "cublaslt" = "auto") {
  return (["ptx", other] as const).map((activations) => {
    const device = new CudaDevice("emulated");
    if (activations !== "ptx") Object.assign(device.libraries, change({ ...device.libraries }));
    using backend = new CudaBackend(device, "fp32", activations);
    const operand = (values: number[]) => {
      const buffer = backend.allocate(values.length, "operand");
      backend.upload(Float32Array.from(values), buffer);
      return buffer;
    };
    const [x, weight, bias] = [[1, 2, 3, 4, 5, 6], [1, 0, -1, NaN, 1, 1], [0.5, -1]].map(operand);
    const y = backend.allocate(4, "y");
    const step = backend.repeatable(() =>
      backend.linear({ inputs: 3, outputs: 2, activation: "relu" }, 2, x, weight, bias, y)
    );
    step();
    const values = new Float32Array(4);
    backend.download(y, values);
    return { name: backend.name, values: [...values], launches: backend.counters.launches };
  });
}

Deno.test("cuBLASLt adds the bias and keeps NaN through ReLU in the launch of a product, also in a recorded sequence", () => {
  const [own, lt] = layerBy(() => ({}));
  assert.deepEqual([own.values, own.launches], [[0, NaN, 0, NaN], 2]);
  assert.deepEqual([lt.values, lt.launches], [own.values, 1]);
  assert.match(lt.name, /^emulated device, fp32, cuBLASLt \d+\.\d+\.\d+$/);
});

Deno.test("cuBLASLt chooses an algorithm once for equal operands: not for another layer, batch size or slot", () => {
  const device = new CudaDevice("emulated");
  const lt = device.libraries.blasLt();
  let chosen = 0;
  const counted = (...values: Parameters<typeof lt.cublasLtMatmulAlgoGetHeuristic>) => {
    chosen++;
    lt.cublasLtMatmulAlgoGetHeuristic(...values);
  };
  Object.assign(device.libraries, { blasLt: () => ({ ...lt, cublasLtMatmulAlgoGetHeuristic: counted }) });
  using backend = new CudaBackend(device, "fp32", "auto");
  const [weight, bias, x, other, y, z] = [12, 4, 24, 24, 32, 32].map((words) => backend.allocate(words, "operand"));
  const shape = { inputs: 3, outputs: 4, activation: "relu" } as const;
  const run = (samples: number, x: Buffer, y: Buffer, activation: "relu" | "identity" = "relu") => {
    const before = chosen;
    backend.linear({ ...shape, activation }, samples, x, weight, bias, y);
    return chosen - before;
  };
  const all = () => [run(8, x, y), run(7, x, y), run(8, other, y), run(8, x, z), run(8, x, y, "identity")];
  assert.deepEqual(all(), [1, 1, 1, 1, 1]);
  assert.deepEqual(all(), [0, 0, 0, 0, 0]);
});

Deno.test("without cuBLASLt, or where it has no algorithm, the kernel adds the bias; the name tells the first", () => {
  const without = {
    blasLt: () => {
      throw new LibraryError("Cannot load cuBLASLt", []);
    },
  };
  const [own, missing] = layerBy(() => without);
  assert.deepEqual([missing.values, missing.launches], [own.values, own.launches]);
  assert.equal(missing.name, "emulated device, fp32");
  assert.throws(() => layerBy(() => without, "cublaslt"), {
    name: "HotsetError",
    message: "Cannot use activations cublaslt: Cannot load cuBLASLt\n--activations ptx does not need it.",
  });
  const withHeuristic = (heuristic: () => void) =>
    layerBy((libraries) => ({
      blasLt: () => ({ ...libraries.blasLt(), cublasLtMatmulAlgoGetHeuristic: heuristic }),
    }))[1];
  const refused = withHeuristic(() => {
    throw new HotsetError("refused", { cause: new CudaError("heuristic", 15, "NOT_SUPPORTED", "refused") });
  });
  for (const found of [refused, withHeuristic(() => {})]) {
    assert.deepEqual([found.values, found.launches], [own.values, own.launches]);
  }
  assert.throws(
    () =>
      withHeuristic(() => {
        throw new HotsetError("broken", { cause: new CudaError("heuristic", 13, "EXECUTION_FAILED", "broken") });
      }),
    /broken/,
  );
});

const gpu = cudaFindings().find(({ name }) => name.startsWith("GPU"))!;

Deno.test({
  name: `without a GPU the error is the library's own, with a next step${
    gpu.found ? " (skipped: there is a GPU)" : ""
  }`,
  ignore: gpu.found,
  fn: () => {
    assert.throws(() => openCuda({ device: "cuda" }), (error: unknown) => {
      assert.ok(error instanceof HotsetError);
      assert.match(error.message, /^Cannot use CUDA: (cudaGetDeviceCount: cuda\w+ \(\d+\), |Cannot load )/);
      assert.match(error.message, /(nvidia-smi|Install it with)[^]*--device emulated/);
      const [, mode, device] = /--mode (\w+) --device (\w+)/.exec(error.message)!;
      expectPlacement(resolveConfig("kaggle", { mode, device } as Partial<TrainConfig>)); // else the advice were another error
      return true;
    });
  },
});

Deno.test("findings name every library and never throw", () => {
  const names = cudaFindings().map(({ name }) => name);
  assert.deepEqual(names.slice(0, 6), ["CUDA runtime", "CUDA driver", "cuBLAS", "cuBLASLt", "cuDNN", "NCCL"]);
  assert.ok(names.length >= 7);
  for (const { detail } of cudaFindings()) assert.notEqual(detail, "");
});
