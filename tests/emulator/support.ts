/** A small program for the emulated device: memory, modules and launches through foreign calls. */
import { checkedCublas } from "../../ffi/cublas.ts";
import { checkedCuda, LaunchParameter } from "../../ffi/cuda.ts";
import { checkedCudart, Cuda } from "../../ffi/cudart.ts";
import { EmulatedDevice, type EmulatedOptions } from "../../emulator/device.ts";
import { addressOf, bytesAt, cString, pointerAt } from "../../ffi/pointer.ts";

/** PTX of one kernel `k` over addresses and numbers `p0`, `p1`, ... with plenty of registers. */
export function ptxOf(parameters: ("u64" | "u32")[], body: string, shared = "", directives = ""): string {
  const list = parameters.map((type, i) => `.param .${type} p${i}`).join(",\n");
  return `.version 7.0\n.target sm_70\n.address_size 64\n${shared}
.visible .entry k(${list})
${directives}
{
  .reg .pred %p<8>;
  .reg .b32 %r<32>;
  .reg .f32 %f<32>;
  .reg .b64 %rd<32>;
${body}
  ret;
}`;
}

/**
 * Address of word `%r0` of parameter 0, in %rd1; %r0 is the thread in the whole launch, %r1 the thread in its block.
 */
export const WORD_OF_THREAD = `
  mov.u32 %r1, %tid.x;
  mov.u32 %r2, %ctaid.x;
  mov.u32 %r3, %ntid.x;
  mad.lo.s32 %r0, %r2, %r3, %r1;
  ld.param.u64 %rd0, [p0];
  cvta.to.global.u64 %rd0, %rd0;
  mul.wide.u32 %rd1, %r0, 4;
  add.s64 %rd1, %rd0, %rd1;`;

/** An emulated device with a stream. */
export class TestDevice implements Disposable {
  readonly device: EmulatedDevice;
  readonly runtime;
  readonly driver;
  readonly blas;
  readonly stream: Deno.PointerValue;
  readonly #slot = new BigUint64Array(1);

  constructor(options: EmulatedOptions = {}) {
    this.device = new EmulatedDevice(options);
    this.runtime = checkedCudart(this.device.cudart);
    this.driver = checkedCuda(this.device.cuda);
    this.blas = checkedCublas(this.device.cublas);
    this.stream = this.makeStream();
  }

  made(call: (slot: BigUint64Array<ArrayBuffer>) => void): bigint {
    call(this.#slot);
    return this.#slot[0];
  }

  makeStream(): Deno.PointerValue {
    return pointerAt(this.made((slot) => this.runtime.cudaStreamCreateWithFlags(slot, 0)));
  }

  allocate(byteLength: number): bigint {
    return this.made((slot) => this.runtime.cudaMalloc(slot, BigInt(byteLength)));
  }

  pinned(byteLength: number): { address: bigint; words: Uint32Array; floats: Float32Array } {
    const address = this.made((slot) => this.runtime.cudaHostAlloc(slot, BigInt(byteLength), 0));
    const { buffer } = bytesAt(address, byteLength);
    return { address, words: new Uint32Array(buffer), floats: new Float32Array(buffer) };
  }

  /** Allocates device memory with these words. */
  upload(values: number[] | Uint32Array | Float32Array): bigint {
    const host = this.pinned(4 * values.length);
    if (values instanceof Float32Array) host.floats.set(values);
    else host.words.set(values);
    const address = this.allocate(4 * values.length);
    this.copy(address, host.address, 4 * values.length, Cuda.memcpyHostToDevice);
    return address;
  }

  copy(to: bigint, from: bigint, byteLength: number, kind: number, stream = this.stream): void {
    this.runtime.cudaMemcpyAsync(to, from, BigInt(byteLength), kind, stream);
  }

  download(address: bigint, words: number): Uint32Array {
    const host = this.pinned(4 * words);
    this.copy(host.address, address, 4 * words, Cuda.memcpyDeviceToHost);
    this.runtime.cudaStreamSynchronize(this.stream);
    return host.words;
  }

  floats(address: bigint, words: number): number[] {
    const { buffer, byteOffset } = this.download(address, words);
    return [...new Float32Array(buffer, byteOffset, words)];
  }

  load(ptx: string, entry = "k"): Deno.PointerValue {
    const module = pointerAt(this.made((slot) => this.driver.cuModuleLoadData(slot, cString(ptx))));
    return pointerAt(this.made((slot) => this.driver.cuModuleGetFunction(slot, module, cString(entry))));
  }

  /** Launches a function; bigint arguments are addresses, numbers are 32-bit. */
  launch(
    handle: Deno.PointerValue,
    blocks: number,
    threads: number,
    values: (bigint | number)[],
    sharedBytes = 0,
    stream = this.stream,
  ): void {
    const view = new DataView(new ArrayBuffer(8 * values.length));
    let at = 0;
    for (const value of values) {
      if (typeof value === "bigint") {
        at = Math.ceil(at / 8) * 8;
        view.setBigUint64(at, value, true);
        at += 8;
      } else {
        view.setUint32(at, value, true);
        at += 4;
      }
    }
    const block = new Uint8Array(view.buffer), length = new BigUint64Array([BigInt(at)]);
    const { bufferPointer, bufferSize, end } = LaunchParameter;
    const extra = new BigUint64Array([bufferPointer, addressOf(block), bufferSize, addressOf(length), end]);
    this.driver.cuLaunchKernel(handle, blocks, 1, 1, threads, 1, 1, sharedBytes, stream, null, extra);
  }

  /** Runs the kernel `k` of a module and waits. */
  run(ptx: string, blocks: number, threads: number, values: (bigint | number)[], sharedBytes = 0): void {
    this.launch(this.load(ptx), blocks, threads, values, sharedBytes);
    this.runtime.cudaStreamSynchronize(this.stream);
  }

  /** Disposes the device without checking for leaks, because tests do not free memory. */
  [Symbol.dispose](): void {
    this.device.fault ??= "ended";
    this.device[Symbol.dispose]();
  }
}
