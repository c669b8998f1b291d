/** Each check of the emulated device detects the incorrect kernel or call that it is meant for. */
import assert from "node:assert/strict";
import { Cuda } from "../../ffi/cudart.ts";
import { CudaError } from "../../ffi/cuda_error.ts";
import { Blas } from "../../ffi/cublas.ts";
import { BlasLt, checkedCublasLt } from "../../ffi/cublas_lt.ts";
import { checkedCudnn, Dnn } from "../../ffi/cudnn.ts";
import { EmulatedDevice } from "../../emulator/device.ts";
import { parsePtx } from "../../emulator/ptx.ts";
import { translate } from "../../emulator/translate.ts";
import { addressOf, pointerAt } from "../../ffi/pointer.ts";
import { ptxOf, TestDevice, WORD_OF_THREAD } from "./support.ts";

/** Runs `program` on a fresh device and demands that it breaks the device with this finding. */
function finds(pattern: RegExp, program: (device: TestDevice) => void): void {
  using device = new TestDevice();
  assert.throws(() => program(device), (error: unknown) => {
    assert.ok(error instanceof CudaError, String(error));
    assert.equal(error.code, 700);
    assert.match(error.message, pattern);
    return true;
  });
  // Like a real fault, it stays.
  assert.throws(() => device.allocate(4), pattern);
}

const STORE = ptxOf(["u64"], `${WORD_OF_THREAD}\n  st.global.u32 [%rd1], %r0;`);
const LOAD = ptxOf(["u64"], `${WORD_OF_THREAD}\n  ld.global.u32 %r4, [%rd1];`);
const SHARED = ".extern .shared .align 16 .b8 array[];\n";

Deno.test("a correct kernel passes all checks", () => {
  using device = new TestDevice();
  const memory = device.upload(new Uint32Array(96));
  device.run(STORE, 3, 32, [memory]);
  assert.deepEqual([...device.download(memory, 96)], Array.from({ length: 96 }, (_, i) => i));
});

Deno.test("out-of-bounds accesses are found, with instruction, place and thread", () => {
  finds(
    /k: st\.global\.u32 in line \d+ is out of bounds \(byte 128 of allocation 1 of 128 bytes\), in thread 0 of block 1/,
    (device) => device.run(STORE, 2, 32, [device.allocate(128)]),
  );
  finds(
    /ld\.global\.u32 .*is out of bounds/,
    (device) => device.run(LOAD, 1, 33, [device.upload(new Uint32Array(32))]),
  );
  // Far beyond one allocation, where on a GPU another one may lie.
  finds(/out of bounds/, (device) => {
    const memory = device.upload(new Uint32Array(32));
    device.upload(new Uint32Array(32));
    device.run(LOAD, 1, 1, [memory + 4096n]);
  });
  finds(/is not device memory/, (device) => device.run(LOAD, 1, 1, [64n]));
  finds(
    /out of bounds .* of shared memory/,
    (device) =>
      device.run(ptxOf([], "mov.u32 %r0, %tid.x; mul.wide.u32 %rd0, %r0, 4; st.shared.u32 [%rd0], %r0;"), 1, 1, []),
  );
});

Deno.test("misaligned accesses are found", () => {
  finds(/is misaligned \(byte 2/, (device) => device.run(LOAD, 1, 1, [device.upload(new Uint32Array(4)) + 2n]));
  const wide = ptxOf(["u64"], "ld.param.u64 %rd0, [p0]; ld.global.v4.f32 {%f0, %f1, %f2, %f3}, [%rd0];");
  finds(
    /ld\.global\.v4\.f32 .*is misaligned \(byte 8/,
    (device) => device.run(wide, 1, 1, [device.upload(new Uint32Array(8)) + 8n]),
  );
});

Deno.test("reads of memory that was never written are found", () => {
  finds(
    /reads memory that was never written \(byte 0 of allocation 1/,
    (device) => device.run(LOAD, 1, 1, [device.allocate(4)]),
  );
  finds(
    /reads memory that was never written \(byte 16 of shared memory/,
    (device) => device.run(ptxOf([], "mov.u64 %rd0, array; ld.shared.u32 %r0, [%rd0+16];", SHARED), 1, 1, [], 64),
  );
  finds(/cudaMemcpyAsync reads memory that was never written/, (device) => device.download(device.allocate(8), 2));
});

Deno.test("shared memory of one block is unwritten memory in the next", () => {
  const body = "mov.u32 %r0, %ctaid.x; mov.u64 %rd0, array; setp.ne.u32 %p0, %r0, 0; @%p0 bra NEXT;" +
    "st.shared.u32 [%rd0], %r0; NEXT: ld.shared.u32 %r1, [%rd0];";
  finds(/never written .*in thread 0 of block 1/, (device) => device.run(ptxOf([], body, SHARED), 2, 1, [], 16));
});

Deno.test("races are found: two writers, a reader and a writer, within a block and between blocks", () => {
  const same = ptxOf(["u64"], "ld.param.u64 %rd0, [p0]; mov.u32 %r0, %tid.x; st.global.u32 [%rd0], %r0;");
  finds(
    /races: another thread wrote, nothing orders the write/,
    (device) => device.run(same, 1, 2, [device.allocate(4)]),
  );
  finds(/races: .* in thread 0 of block 1/, (device) => device.run(same, 2, 1, [device.allocate(4)]));
  const neighbour = (barrier: string) =>
    ptxOf(
      [],
      `mov.u32 %r0, %tid.x; mov.u64 %rd0, array; mul.wide.u32 %rd1, %r0, 4; add.s64 %rd1, %rd0, %rd1;
       st.shared.u32 [%rd1], %r0; ${barrier} xor.b32 %r1, %r0, 1; mul.wide.u32 %rd2, %r1, 4;
       add.s64 %rd2, %rd0, %rd2; ld.shared.u32 %r2, [%rd2];`,
      SHARED,
    );
  using device = new TestDevice();
  device.run(neighbour("bar.sync 0;"), 2, 64, [], 256); // ordered by the barrier
  finds(/never written|races/, (device) => device.run(neighbour(""), 1, 64, [], 256));
  const writeThenRead = ptxOf(
    ["u64"],
    `ld.param.u64 %rd0, [p0]; mov.u32 %r1, %tid.x; setp.ne.u32 %p0, %r1, 0; @%p0 bra READ;
     st.global.u32 [%rd0], %r1; bra END; READ: ld.global.u32 %r0, [%rd0]; END:`,
  );
  finds(
    /races: another thread wrote, nothing orders the read .*in thread 1/,
    (device) => device.run(writeThenRead, 1, 2, [device.upload([1])]),
  );
  const readThenWrite = ptxOf(
    ["u64"],
    `ld.param.u64 %rd0, [p0]; ld.global.u32 %r0, [%rd0]; mov.u32 %r1, %tid.x; setp.ne.u32 %p0, %r1, 5;
     @%p0 bra END; st.global.u32 [%rd0], %r1; END:`,
  );
  finds(
    /races: another thread read, nothing orders the write .*in thread 5/,
    (device) => device.run(readThenWrite, 1, 6, [device.upload([1])]),
  );
});

Deno.test("launches one after the other do not race", () => {
  using device = new TestDevice();
  const memory = device.upload(new Uint32Array(32));
  for (let i = 0; i < 3; i++) device.run(STORE, 1, 32, [memory]);
});

Deno.test("atomic additions do not race with each other and lose nothing; with plain writes they race", () => {
  const add = ptxOf(["u64"], "ld.param.u64 %rd0, [p0]; mov.u32 %r0, 2; atom.global.add.u32 %r1, [%rd0], %r0;");
  using device = new TestDevice();
  const sum = device.upload([5]);
  device.run(add, 3, 40, [sum]);
  assert.equal(device.download(sum, 1)[0], 5 + 2 * 120);
  const mixed = ptxOf(
    ["u64"],
    `ld.param.u64 %rd0, [p0]; mov.u32 %r0, %tid.x; setp.eq.u32 %p0, %r0, 1; @%p0 bra ADD;
     st.global.u32 [%rd0], %r0; ret; ADD: red.global.add.u32 [%rd0], %r0;`,
  );
  finds(/another thread wrote without an atomic/, (device) => device.run(mixed, 1, 2, [device.upload([0])]));
});

Deno.test("launches with wrong arguments or shapes are refused before they run", () => {
  finds(/4 bytes of arguments where \(u64\) has 8/, (device) => device.run(STORE, 1, 1, [1]));
  finds(/16 bytes of arguments where \(u64\) has 8/, (device) => device.run(STORE, 1, 1, [1n, 1n]));
  finds(/a block has 1 to 64/, (device) => device.run(ptxOf([], "", "", ".maxntid 64, 1, 1"), 1, 65, []));
  finds(/0 blocks/, (device) => device.run(ptxOf([], ""), 0, 1, []));
  finds(/bytes of shared memory; a block has 49152/, (device) => device.run(ptxOf([], ""), 1, 1, [], 50000));
});

Deno.test("launches in a form that is not emulated are refused: two dimensions, loose arguments, other tags", () => {
  const launch = (device: TestDevice, gridY: number, kernelParams: Deno.PointerValue, tag: bigint) => {
    const handle = device.load(ptxOf([], "")), length = new BigUint64Array(1);
    const extra = new BigUint64Array([1n, addressOf(length), tag, addressOf(length), 0n]);
    device.driver.cuLaunchKernel(handle, 1, gridY, 1, 1, 1, 1, 0, device.stream, kernelParams, extra);
  };
  finds(/grids of more than one dimension are not emulated/, (device) => launch(device, 2, null, 2n));
  finds(/arguments must come as one block of known length/, (device) => launch(device, 1, device.stream, 2n));
  finds(/extra is not \(buffer pointer, buffer size, end\)/, (device) => launch(device, 1, null, 3n));
});

Deno.test("streams and events that do not exist, and captures that do not pair, are found", () => {
  const missing = pointerAt(0x1234n);
  finds(/uses a stream that does not exist/, ({ runtime }) => runtime.cudaStreamSynchronize(missing));
  finds(/uses an event that does not exist/, ({ runtime, stream }) => runtime.cudaEventRecord(missing, stream));
  finds(/cudaStreamBeginCapture of a capturing stream/, ({ runtime, stream }) => {
    for (let times = 0; times < 2; times++) runtime.cudaStreamBeginCapture(stream, 1);
  });
  finds(/cudaStreamEndCapture without a begin/, ({ runtime, stream }) => {
    runtime.cudaStreamEndCapture(stream, new BigUint64Array(1));
  });
});

Deno.test("arithmetic whose result the emulated device cannot hold is found", () => {
  finds(/an integer division by zero/, (device) => device.run(ptxOf([], "div.u32 %r0, %r1, 0;"), 1, 1, []));
  const body = "mov.u64 %rd0, 9007199254740991; mul.lo.s64 %rd1, %rd0, 2;";
  finds(/a 64-bit value of \d+ is not emulated/, (device) => device.run(ptxOf([], body), 1, 1, []));
});

Deno.test("use after free, double free and frees of other addresses are found", () => {
  const freed = (device: TestDevice) => {
    const memory = device.upload([1, 2]);
    device.runtime.cudaFree(memory);
    return memory;
  };
  finds(/uses allocation 1 of 8 bytes after it was freed/, (device) => device.run(LOAD, 1, 1, [freed(device)]));
  finds(/cudaFree uses allocation 1 of 8 bytes after it was freed/, (device) => device.runtime.cudaFree(freed(device)));
  finds(/cudaFree of an address inside allocation/, (device) => device.runtime.cudaFree(device.upload([1, 2]) + 4n));
  finds(/cudaFreeHost of an address that is not allocated/, (device) => device.runtime.cudaFreeHost(4096n));
});

Deno.test("copies beyond an allocation or from memory that is not pinned are found", () => {
  finds(/cudaMemcpyAsync reaches bytes 0 to 12 of allocation 1 of 8 bytes/, (device) => {
    device.copy(device.allocate(8), device.pinned(64).address, 12, Cuda.memcpyHostToDevice);
    device.runtime.cudaStreamSynchronize(device.stream);
  });
  finds(/not pinned memory/, (device) => {
    device.copy(device.allocate(8), 4096n, 8, Cuda.memcpyHostToDevice);
    device.runtime.cudaStreamSynchronize(device.stream);
  });
  finds(/reaches 8 bytes from byte 4 of 8 pinned/, (device) => {
    device.copy(device.allocate(8), device.pinned(8).address + 4n, 8, Cuda.memcpyHostToDevice);
    device.runtime.cudaStreamSynchronize(device.stream);
  });
});

Deno.test("a product that reaches beyond a matrix, or begins within a word, is found", () => {
  const multiply = (device: TestDevice, wordsOfB: number, shift: bigint) => {
    const pointer = pointerAt(device.made((slot) => device.blas.cublasCreate_v2(slot)));
    device.blas.cublasSetStream_v2(pointer, device.stream);
    const [a, b] = [4, wordsOfB].map((words) => device.upload(new Uint32Array(words)));
    const [one, zero] = [new Float32Array([1]), new Float32Array(1)];
    device.blas.cublasSgemm_v2(pointer, 0, 0, 2, 2, 2, one, a, 2, b + shift, 2, zero, device.allocate(16), 2);
    device.runtime.cudaStreamSynchronize(device.stream);
  };
  finds(
    /cublasSgemm_v2 reaches bytes 0 to 16 of allocation 2 of 12 bytes/,
    (device) => multiply(device, 3, 0n),
  );
  finds(/cublasSgemm_v2 has a matrix at a misaligned address/, (device) => multiply(device, 5, 2n));
});

Deno.test("a cuBLASLt product whose operand is less aligned than its algorithm was promised is found", () => {
  finds(/cublasLtMatmul has operand C not aligned to 256 bytes as promised/, (device) => {
    const lt = checkedCublasLt(device.device.cublasLt);
    const made = (call: (slot: BigUint64Array<ArrayBuffer>) => void) => pointerAt(device.made(call));
    const handle = made(lt.cublasLtCreate), preference = made(lt.cublasLtMatmulPreferenceCreate);
    const product = made((slot) => lt.cublasLtMatmulDescCreate(slot, Blas.compute32f, Blas.real32f));
    const layout = made((slot) => lt.cublasLtMatrixLayoutCreate(slot, Blas.real32f, 2n, 2n, 2n));
    const set = (key: number, value: number) =>
      lt.cublasLtMatmulDescSetAttribute(product, key, new Uint32Array([value]), 4n);
    set(BlasLt.descTransA, Blas.opT);
    set(BlasLt.descEpilogue, BlasLt.epilogueBias);
    const result = new Uint8Array(BlasLt.resultBytes), layouts = [layout, layout, layout, layout] as const;
    lt.cublasLtMatmulAlgoGetHeuristic(handle, product, ...layouts, preference, 1, result, new Int32Array(1));
    const [a, d] = [device.upload(new Uint32Array(4)), device.allocate(32)];
    const [one, zero] = [new Float32Array([1]), new Float32Array(1)];
    lt.cublasLtMatmul(
      ...[handle, product, one, a, layout, a, layout, zero] as const,
      ...[d + 16n, layout, d + 16n, layout, result, d, 0n, device.stream] as const,
    );
    device.runtime.cudaStreamSynchronize(device.stream);
  });
});

Deno.test("an activation that reaches beyond a tensor is found", () => {
  finds(/cudnnActivationForward reaches bytes 0 to 16 of allocation 1 of 12 bytes/, (device) => {
    const dnn = checkedCudnn(device.device.cudnn);
    const made = (call: (slot: BigUint64Array<ArrayBuffer>) => void) => pointerAt(device.made(call));
    const handle = made(dnn.cudnnCreate), tensor = made(dnn.cudnnCreateTensorDescriptor);
    const relu = made(dnn.cudnnCreateActivationDescriptor);
    dnn.cudnnSetStream(handle, device.stream);
    dnn.cudnnSetTensor4dDescriptor(tensor, Dnn.tensorNchw, Dnn.dataFloat, 1, 1, 1, 4);
    dnn.cudnnSetActivationDescriptor(relu, Dnn.activationRelu, Dnn.propagateNan, 0);
    const [one, zero] = [new Float32Array([1]), new Float32Array(1)];
    const x = device.upload(new Uint32Array(3));
    dnn.cudnnActivationForward(handle, relu, one, tensor, x, zero, tensor, x);
    device.runtime.cudaStreamSynchronize(device.stream);
  });
});

Deno.test("leaks are an error at the end, unless something worse happened", () => {
  const device = new EmulatedDevice();
  const slot = new BigUint64Array(1);
  device.cudart.cudaMalloc(slot, 12n);
  device.cudart.cudaEventCreateWithFlags(slot, 0);
  assert.throws(() => device[Symbol.dispose](), /leaked: allocation 1 of 12 bytes; 1 of events/);
});

Deno.test("threads that wait for others in vain are found", () => {
  const half = "mov.u32 %r0, %tid.x; setp.lt.u32 %p0, %r0, 16;";
  finds(
    /deadlock: thread 16 waits at a barrier, this one ended/,
    (device) => device.run(ptxOf([], `${half} @%p0 bra END; bar.sync 0; END:`), 1, 32, []),
  );
  finds(
    /waits in a bfly exchange for threads that do not come/,
    (device) =>
      device.run(
        ptxOf([], `${half} @%p0 bra END; shfl.sync.bfly.b32 %r1, %r0, 1, 31, -1; END: bar.sync 0;`),
        1,
        32,
        [],
      ),
  );
  finds(
    /a idx shuffle reads lane 3, which does not take part/,
    (device) => device.run(ptxOf([], "mov.u32 %r0, %tid.x; shfl.sync.idx.b32 %r1, %r0, 3, 31, 3;"), 1, 2, []),
  );
  finds(
    /whose mask leaves out the thread itself/,
    (device) => device.run(ptxOf([], "mov.u32 %r0, %tid.x; shfl.sync.idx.b32 %r1, %r0, 0, 31, 1;"), 1, 2, []),
  );
});

Deno.test("instructions that are not emulated are refused by name when the module is loaded", () => {
  const refused: [string, RegExp][] = [
    ["sin.approx.f32 %f0, %f1;", /sin\.approx\.f32 is not emulated/],
    ["mul.hi.u32 %r0, %r1, %r2;", /mul\.hi\.u32 is not emulated/],
    ["ld.u32 %r0, [%rd0];", /ld\.u32 is not emulated/],
    ["bar.red.popc.u32 %r0, 0, %p0;", /bar\.red\.popc\.u32 is not emulated/],
    ["mov.u32 %r0, %laneid;", /%laneid.*is not/],
  ];
  for (const [instruction, pattern] of refused) {
    finds(pattern, (device) => void device.load(ptxOf([], instruction)));
  }
});

Deno.test("memory runs out as on a device, and the device goes on", () => {
  using device = new TestDevice({ memoryBytes: 1000 });
  device.allocate(600);
  assert.throws(() => device.allocate(600), /cudaMalloc: cudaErrorMemoryAllocation \(2\), out of memory/);
  device.allocate(400);
});

Deno.test("PTX with types, arrays or operands that make no sense is refused, in a time that grows with its length", () => {
  const kernel = (declarations: string, body: string) =>
    `.visible .entry k(\n.param .u64 p\n)\n{\n.reg .b32 %r<5>;\n.reg .f32 %f<5>;\n${declarations}\n${body}\nret;\n}\n`;
  const cases: [string, RegExp][] = [
    [kernel(".shared .align 4 .b9 x[4];", ""), /the type b9 is not emulated/],
    [kernel(".shared .align 0 .b8 x[4];", ""), /x of k is aligned to 0 bytes/],
    [kernel(".shared .align 4 .b8 x[99999999999];", ""), /the shared arrays of k have more than 1048576 bytes/],
    [kernel("", "st.global.f32 %f1;"), /st\.global\.f32 has 1 operands/],
    [kernel("", "setp.constructor.u32 %r1, %r2, %r3;"), /line \d+ of k: setp\.constructor\.u32 is not emulated/],
    [kernel("", "mov;"), /operand undefined of k is not emulated/],
    [kernel("", "mov %r1, 5;") + ".func", /PTX functions \(\.func\) are not emulated/],
    [kernel("", "add.s32 5, %r1, %r2;"), /k has operands that its instructions do not take/],
    [".entry k(.param .u63 p) {\nret;\n}", /the type u63 is not emulated/],
    [".entry k(.param .u64 p {\nret;\n}", /line 1: cannot read the head of an entry/],
    ["/*".repeat(300_000), /the PTX has no \.entry/],
    [".entry a(".repeat(100_000), /cannot read the head of an entry/],
    [kernel("", "a:".repeat(200_000) + "mov.b32 {,".repeat(50_000)), /the PTX ends inside a block/],
  ];
  for (const [text, reason] of cases) {
    const begin = performance.now();
    assert.throws(
      () => parsePtx(text).forEach(translate),
      (error: Error) => error.name === "PtxError" && reason.test(error.message),
      String(reason),
    );
    assert.ok(performance.now() - begin < 5000, `${performance.now() - begin} ms for ${reason}`);
  }
});
