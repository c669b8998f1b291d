/**
 * CUDA from TypeScript, without a compiler or a toolkit: devices, buffers, kernels in PTX, copies. Needs `--allow-ffi`,
 * and nothing else of Hotset. On the device `"emulated"` the same calls and kernels run on the CPU, slowly, and every
 * access is checked: it needs no GPU, and reports errors of kernels.
 *
 * Objects must be used on the thread that created them. Disposing the device frees everything created on it.
 * Sizes are in words of 4 bytes unless a name says bytes.
 *
 * @example Add two vectors
 * ```ts
 * import assert from "node:assert/strict";
 * import { blocksFor, CudaDevice, KernelModule, Transfers } from "@hotset/hotset/cuda";
 *
 * const PTX = `
 * .version 7.0
 * .target sm_70
 * .address_size 64
 * .visible .entry add(.param .u64 a, .param .u64 b, .param .u32 count) {
 *   .reg .pred %p<2>;
 *   .reg .f32 %f<3>;
 *   .reg .b32 %r<5>;
 *   .reg .b64 %rd<4>;
 *   ld.param.u64 %rd1, [a];
 *   ld.param.u64 %rd2, [b];
 *   ld.param.u32 %r1, [count];
 *   mov.u32 %r2, %ctaid.x;
 *   mov.u32 %r3, %ntid.x;
 *   mov.u32 %r4, %tid.x;
 *   mad.lo.s32 %r2, %r2, %r3, %r4;
 *   setp.ge.u32 %p1, %r2, %r1;
 *   @%p1 bra END;
 *   mul.wide.u32 %rd3, %r2, 4;
 *   add.s64 %rd1, %rd1, %rd3;
 *   add.s64 %rd2, %rd2, %rd3;
 *   ld.global.f32 %f1, [%rd1];
 *   ld.global.f32 %f2, [%rd2];
 *   add.rn.f32 %f1, %f1, %f2;
 *   st.global.f32 [%rd1], %f1;
 * END:
 *   ret;
 * }`;
 *
 * const count = 1000;
 * const ones = new Float32Array(count).fill(1);
 * const numbers = Float32Array.from(ones, (_, i) => i);
 *
 * using device = new CudaDevice("emulated"); // "cuda" is a GPU
 * const transfers = new Transfers(device);
 * const a = device.allocate(count, "a");
 * const b = device.allocate(count, "b");
 * transfers.upload(new Uint8Array(ones.buffer), a);
 * transfers.upload(new Uint8Array(numbers.buffer), b);
 *
 * const add = new KernelModule(device, PTX).kernel("add", ["u64", "u64", "u32"]);
 * add.buffer(0, a);
 * add.buffer(1, b);
 * add.number(2, count);
 * add.launch(blocksFor(count, 256), 256);
 *
 * const sums = new Float32Array(count);
 * transfers.download(a, new Uint8Array(sums.buffer));
 * assert(sums.every((sum, i) => sum === i + 1));
 * ```
 *
 * @module
 */
export { CudaDevice } from "../src/backend/cuda/device.ts";
export { blocksFor, Kernel, KernelModule, type ParameterType } from "../src/backend/cuda/kernel.ts";
export { DeviceBuffer, PinnedBuffer } from "../src/backend/cuda/memory.ts";
export { Transfers } from "../src/backend/cuda/transfers.ts";
export type { CudaDeviceKind } from "../src/backend/cuda/libraries.ts";
export type { Buffer, DeviceCounters, Upload } from "../src/backend/backend.ts";
export { CudaError } from "../ffi/cuda_error.ts";
export type { EmulatedOptions } from "../emulator/device.ts";
