/** Results and counters of the emulated device. */
import assert from "node:assert/strict";
import { Cuda } from "../../ffi/cudart.ts";
import { pointerAt } from "../../ffi/pointer.ts";
import { ptxOf, TestDevice, WORD_OF_THREAD } from "./support.ts";

/** Runs a kernel whose body leaves a word in %r9 for every thread, and returns those words. */
function words(body: string, threads: number, blocks = 1): number[] {
  using device = new TestDevice();
  const memory = device.upload(new Uint32Array(threads * blocks));
  device.run(ptxOf(["u64"], `${WORD_OF_THREAD}\n${body}\n  st.global.u32 [%rd1], %r9;`), blocks, threads, [memory]);
  return [...device.download(memory, threads * blocks)];
}

const range = (count: number) => Array.from({ length: count }, (_, i) => i);

Deno.test("divergent branches, loops and predicates run as written", () => {
  // Steps of the Collatz sequence: every thread takes another path.
  const body = `
    add.s32 %r4, %r0, 1; mov.u32 %r9, 0;
LOOP: setp.eq.s32 %p0, %r4, 1; @%p0 bra END;
    and.b32 %r5, %r4, 1; setp.eq.s32 %p1, %r5, 0;
    @%p1 shr.u32 %r4, %r4, 1;
    @!%p1 mad.lo.s32 %r4, %r4, 3, 1;
    add.s32 %r9, %r9, 1; bra.uni LOOP;
END:`;
  const steps = (n: number): number => n === 1 ? 0 : 1 + steps(n % 2 === 0 ? n / 2 : 3 * n + 1);
  assert.deepEqual(words(body, 50, 2), range(100).map((i) => steps(i + 1)));
});

Deno.test("32-bit integers wrap, divide and compare as unsigned or signed", () => {
  const body = `
    sub.s32 %r4, %r0, 2;              // -2, -1, 0, 1
    setp.lt.u32 %p0, %r4, 5; selp.b32 %r5, 1, 0, %p0;
    setp.lt.s32 %p1, %r4, 0; selp.b32 %r6, 2, 0, %p1;
    mov.u32 %r8, 3; div.u32 %r7, %r4, %r8; and.b32 %r7, %r7, 255; shl.b32 %r7, %r7, 8;
    add.s32 %r9, %r5, %r6; or.b32 %r9, %r9, %r7;`;
  const expected = [-2, -1, 0, 1].map((v) =>
    (v >>> 0 < 5 ? 1 : 0) + (v < 0 ? 2 : 0) | ((Math.floor((v >>> 0) / 3) & 255) << 8)
  );
  assert.deepEqual(words(body, 4), expected);
});

Deno.test("predicates take literals", () => {
  const body = `
    setp.gt.u32 %p0, %r0, 1; mov.pred %p1, 0; xor.pred %p2, %p0, %p1; not.pred %p2, %p2;
    selp.b32 %r9, 1, 0, %p2;`;
  assert.deepEqual(words(body, 4), [1, 1, 0, 0]);
});

Deno.test("shuffles and votes exchange within a warp", () => {
  const shuffle = (kind: string, lane: string, control: number) =>
    words(`shfl.sync.${kind}.b32 %r9, %r0, ${lane}, ${control}, -1;`, 64);
  assert.deepEqual(shuffle("bfly", "5", 31), range(64).map((i) => i ^ 5));
  assert.deepEqual(shuffle("idx", "7", 31), range(64).map((i) => (i & 32) | 7));
  assert.deepEqual(shuffle("down", "3", 31), range(64).map((i) => i % 32 < 29 ? i + 3 : i));
  assert.deepEqual(shuffle("up", "3", 0), range(64).map((i) => i % 32 < 3 ? i : i - 3));
  const ballot = words("and.b32 %r4, %r0, 5; setp.eq.s32 %p0, %r4, 5; vote.sync.ballot.b32 %r9, %p0, -1;", 64);
  const bits = range(32).reduce((sum, i) => sum + ((i & 5) === 5 ? 2 ** i : 0), 0);
  assert.deepEqual(ballot, range(64).map(() => bits));
});

Deno.test("barriers order shared memory: a block reverses its words", () => {
  const body = `
    mov.u64 %rd4, array; mul.wide.u32 %rd5, %r1, 4; add.s64 %rd5, %rd4, %rd5; st.shared.u32 [%rd5], %r0;
    bar.sync 0;
    sub.s32 %r5, 99, %r1; mul.wide.u32 %rd6, %r5, 4; add.s64 %rd6, %rd4, %rd6; ld.shared.u32 %r9, [%rd6];`;
  using device = new TestDevice();
  const memory = device.upload(new Uint32Array(200));
  const ptx = ptxOf(["u64"], `${WORD_OF_THREAD}${body} st.global.u32 [%rd1], %r9;`, ".shared .align 4 .b8 array[400];");
  device.run(ptx, 2, 100, [memory]);
  assert.deepEqual([...device.download(memory, 200)], [...range(100).reverse(), ...range(200).slice(100).reverse()]);
});

Deno.test("floats are rounded to single precision after every operation", () => {
  const body =
    `cvt.rn.f32.u32 %f0, %r0; add.f32 %f1, %f0, 0f3DCCCCCD; mul.f32 %f2, %f1, %f1; div.rn.f32 %f3, %f2, 0f40400000;
    sqrt.rn.f32 %f4, %f3; fma.rn.f32 %f5, %f4, %f1, %f0; max.f32 %f6, %f5, 0f3F800000; neg.f32 %f7, %f6;
    cvt.rmi.f32.f32 %f8, %f7; cvt.rzi.s32.f32 %r5, %f8; mov.b32 %r6, %f5; xor.b32 %r9, %r5, %r6;`;
  const f = Math.fround;
  const bits = (value: number) => new Int32Array(new Float32Array([value]).buffer)[0];
  const expected = range(40).map((i) => {
    const a = f(i + f(0.1)), root = f(Math.sqrt(f(f(a * a) / 3))), sum = f(root * a + i);
    return (Math.floor(-Math.max(sum, 1)) ^ bits(sum)) >>> 0;
  });
  assert.deepEqual(words(body, 40), expected);
});

Deno.test("sectors: neighbouring words take 4 a warp, words 32 bytes apart take 32", () => {
  for (const [stride, sectors] of [[1, 4], [2, 8], [8, 32], [0, 1]]) {
    using device = new TestDevice({ countTraffic: true });
    const memory = device.upload(new Uint32Array(512));
    const ptx = ptxOf(
      ["u64"],
      `mov.u32 %r0, %tid.x; ld.param.u64 %rd0, [p0]; mul.wide.u32 %rd1, %r0, ${4 * stride};
       add.s64 %rd1, %rd0, %rd1; ld.global.u32 %r1, [%rd1];`,
    );
    device.run(ptx, 1, 64, [memory]);
    const traffic = device.device.traffic!.kernels.get("k")!;
    assert.equal(traffic.launches, 1);
    assert.equal(traffic.sectors, stride === 0 ? 2 : 2 * sectors);
    assert.equal(traffic.neededSectors, stride === 0 ? 2 : 8);
    assert.equal(traffic.bytes, stride === 0 ? 8 : 256);
  }
});

Deno.test("bank conflicts: a stride of 2 words takes 2 turns, of 32 words 32, an odd one 1; 16-byte rows none", () => {
  const turns = (bytes: number, load: string) => {
    using device = new TestDevice({ countTraffic: true });
    const ptx = ptxOf(
      [],
      `mov.u32 %r0, %tid.x; mov.u64 %rd0, array; mul.wide.u32 %rd1, %r0, ${bytes}; add.s64 %rd1, %rd0, %rd1; ${load}`,
      ".shared .align 16 .b8 array[8192];",
    );
    device.run(ptx, 1, 32, []);
    return device.device.traffic!.kernels.get("k")!.bankTurns;
  };
  for (const [stride, expected] of [[1, 1], [2, 2], [3, 1], [4, 4], [32, 32], [33, 1], [0, 1]]) {
    if (stride === 0) continue; // all threads would write one word
    assert.equal(turns(4 * stride, "st.shared.u32 [%rd1], %r0;"), expected, `stride ${stride}`);
  }
  const wide = "mov.f32 %f0, 0f00000000; st.shared.v4.f32 [%rd1], {%f0, %f0, %f0, %f0};";
  assert.equal(turns(16, wide), 1);
  assert.equal(turns(32, wide), 2);
});

Deno.test("operations run as late as waits allow, so a missing wait shows", () => {
  for (const waits of [true, false]) {
    using device = new TestDevice();
    const copies = device.makeStream();
    const event = pointerAt(device.made((slot) => device.runtime.cudaEventCreateWithFlags(slot, 0)));
    const memory = device.upload([1]), target = device.allocate(4), host = device.pinned(4);
    host.words[0] = 2;
    device.copy(memory, host.address, 4, Cuda.memcpyHostToDevice, copies);
    device.runtime.cudaEventRecord(event, copies);
    if (waits) device.runtime.cudaStreamWaitEvent(device.stream, event, 0);
    device.copy(target, memory, 4, Cuda.memcpyDeviceToDevice);
    assert.equal(device.download(target, 1)[0], waits ? 2 : 1);
  }
});

Deno.test("with copies first, a copy that does not wait overwrites what is still to be read", () => {
  for (const waits of [true, false]) {
    using device = new TestDevice({ copiesFirst: true });
    const copies = device.makeStream();
    const event = pointerAt(device.made((slot) => device.runtime.cudaEventCreateWithFlags(slot, 0)));
    const memory = device.upload([1]), target = device.upload([0]), host = device.pinned(4);
    const copy = ptxOf(
      ["u64", "u64"],
      "ld.param.u64 %rd0, [p0]; ld.param.u64 %rd1, [p1]; ld.global.u32 %r0, [%rd0]; st.global.u32 [%rd1], %r0;",
    );
    device.launch(device.load(copy), 1, 1, [memory, target]);
    device.runtime.cudaEventRecord(event, device.stream);
    host.words[0] = 2;
    if (waits) device.runtime.cudaStreamWaitEvent(copies, event, 0);
    device.copy(memory, host.address, 4, Cuda.memcpyHostToDevice, copies);
    assert.equal(device.download(target, 1)[0], waits ? 1 : 2);
  }
});

Deno.test("a captured graph does nothing until launched, then repeats with the arguments it was given", () => {
  using device = new TestDevice();
  const add = ptxOf(["u64", "u32"], "ld.param.u64 %rd0, [p0]; ld.param.u32 %r1, [p1]; red.global.add.u32 [%rd0], %r1;");
  const kernel = device.load(add), sum = device.upload([100]);
  const { runtime, stream } = device;
  runtime.cudaStreamBeginCapture(stream, 1);
  device.launch(kernel, 1, 4, [sum, 3]);
  const graph = pointerAt(device.made((slot) => runtime.cudaStreamEndCapture(stream, slot)));
  const executable = pointerAt(device.made((slot) => runtime.cudaGraphInstantiateWithFlags(slot, graph, 0n)));
  runtime.cudaGraphDestroy(graph);
  assert.equal(device.download(sum, 1)[0], 100);
  for (let i = 1; i <= 3; i++) {
    runtime.cudaGraphLaunch(executable, stream);
    assert.equal(device.download(sum, 1)[0], 100 + 12 * i);
  }
  assert.equal(device.device.counters.kernels, 3);
  assert.throws(() => {
    runtime.cudaStreamBeginCapture(stream, 1);
    runtime.cudaStreamSynchronize(stream);
  }, /cudaStreamSynchronize during stream capture/);
});

Deno.test("statuses have the libraries' names; a handle that does not exist harms nothing", () => {
  using device = new TestDevice();
  const missing = pointerAt(0x1234n);
  assert.throws(() => device.runtime.cudaSetDevice(1), /cudaSetDevice: cudaErrorInvalidDevice \(101\)/);
  assert.throws(() => device.runtime.cudaGraphDestroy(missing), /cudaErrorInvalidResourceHandle/);
  assert.throws(() => device.driver.cuModuleUnload(missing), /CUDA_ERROR_INVALID_HANDLE \(400\)/);
  assert.throws(() => device.blas.cublasSetStream_v2(missing, device.stream), /CUBLAS_STATUS_NOT_INITIALIZED \(1\)/);
  device.allocate(4);
});
