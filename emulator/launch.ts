/**
 * Runs a translated kernel over a grid, one block after the other. Within a block each warp runs up to the next
 * barrier.
 */
import { type DeviceMemory, EmulationError, Region, WINDOW_BYTES } from "./memory.ts";
import { typeBytes } from "./ptx.ts";
import type { PtxEntry } from "./ptx.ts";
import type { Traffic } from "./traffic.ts";
import { AT_BARRIER, type ExchangeKind, type Program, translate } from "./translate.ts";

const WARP = 32;
const MAX_THREADS = 1024;
const MAX_SHARED_BYTES = 48 << 10;

/**
 * States of a thread: runnable, waiting at a barrier, or finished. Higher values mean waiting in exchange `state - DONE
 * - 1`.
 */
const READY = 0, BARRIER = 1, DONE = 2;

/** A kernel that can be launched. */
export class Kernel {
  readonly entry: PtxEntry;
  readonly #program: Program;

  /** Throws PtxError if the entry uses a feature that the emulated device does not have. */
  constructor(entry: PtxEntry) {
    this.entry = entry;
    this.#program = translate(entry);
  }

  /** Validates a launch before it is queued. Throws EmulationError. */
  check(blocks: number, threads: number, sharedBytes: number, argumentBytes: number): void {
    const { name, parameterBytes, maxThreads = MAX_THREADS } = this.entry;
    const fail = (reason: string): never => {
      throw new EmulationError(`launch of ${name}: ${reason}`);
    };
    if (argumentBytes !== parameterBytes) {
      const types = this.entry.parameters.map((p) => p.type).join(", ");
      fail(`${argumentBytes} bytes of arguments where (${types}) has ${parameterBytes}`);
    }
    if (blocks < 1 || threads < 1 || threads > maxThreads) {
      fail(`${blocks} blocks of ${threads} threads; a block has 1 to ${maxThreads}`);
    }
    if (this.entry.sharedBytes + sharedBytes > MAX_SHARED_BYTES) {
      fail(`${this.entry.sharedBytes + sharedBytes} bytes of shared memory; a block has ${MAX_SHARED_BYTES}`);
    }
  }

  /** Runs all threads of all blocks. Throws EmulationError that names the kernel, instruction, block and thread. */
  run(
    memory: DeviceMemory,
    blocks: number,
    threads: number,
    sharedBytes: number,
    packed: Uint8Array<ArrayBuffer>,
    traffic: Traffic | undefined,
  ): void {
    const machine = new Machine(memory, this.#program, this.entry.sharedBytes + sharedBytes, threads, traffic);
    const values = this.#arguments(packed);
    memory.beginLaunch();
    let block = 0;
    try {
      for (; block < blocks; block++) machine.runBlock(this.#program, values, block, threads, blocks);
    } catch (error) {
      if (!(error instanceof EmulationError)) throw error;
      throw new EmulationError(`${error.message}, in thread ${machine.thread} of block ${block}`);
    }
  }

  /** Unpacks the arguments into values of registers. */
  #arguments(packed: Uint8Array<ArrayBuffer>): number[] {
    const view = new DataView(packed.buffer);
    return this.entry.parameters.map(({ type, offset }) => {
      if (typeBytes(type) === 8) return Number(view.getBigUint64(offset, true));
      return type === "f32" ? view.getFloat32(offset, true) : view.getInt32(offset, true);
    });
  }
}

/** The functions and state that translated code uses, for the running block. */
class Machine {
  readonly memory: DeviceMemory;
  readonly shared: Region;
  readonly traffic: Traffic | undefined;
  readonly sites: readonly string[];
  readonly exchanges: readonly ExchangeKind[];
  /** Views of the allocation that was accessed last. */
  f32 = new Float32Array(0);
  i32 = new Int32Array(0);
  thread = 0;
  /** Values that each thread sends to and receives from an exchange. */
  readonly received: Float64Array;
  readonly #offered: Float64Array;
  readonly #lane: Int32Array;
  readonly #control: Int32Array;
  readonly #mask: Int32Array;
  readonly #float = new Float32Array(1);
  readonly #bits = new Int32Array(this.#float.buffer);

  constructor(
    memory: DeviceMemory,
    program: Program,
    sharedBytes: number,
    threads: number,
    traffic: Traffic | undefined,
  ) {
    this.memory = memory;
    this.shared = new Region("shared memory", sharedBytes);
    this.traffic = traffic;
    this.sites = program.sites;
    this.exchanges = program.exchanges;
    this.received = new Float64Array(threads);
    this.#offered = new Float64Array(threads);
    this.#lane = new Int32Array(threads);
    this.#control = new Int32Array(threads);
    this.#mask = new Int32Array(threads);
  }

  runBlock(program: Program, values: number[], block: number, threads: number, blocks: number): void {
    const { clock } = this.memory;
    clock.blockBase = clock.epochBase;
    this.shared.reset();
    this.traffic?.beginBlock(this.sites, threads);
    if (program.waits) {
      this.#runWaiting(program, values, block, threads, blocks);
    } else {
      for (let t = 0; t < threads; t++) {
        this.#enter(t);
        program.run(this, values, t, block, threads, blocks);
      }
    }
    clock.epochBase += threads;
    this.traffic?.endBlock();
  }

  #enter(thread: number): void {
    this.thread = thread;
    this.memory.clock.now = this.memory.clock.epochBase + thread + 1;
  }

  #runWaiting(program: Program, values: number[], block: number, threads: number, blocks: number): void {
    const runs: Generator<number>[] = [];
    for (let t = 0; t < threads; t++) {
      runs.push(program.run(this, values, t, block, threads, blocks) as Generator<number>);
    }
    const states = new Int32Array(threads).fill(READY);
    for (;;) {
      for (let first = 0; first < threads; first += WARP) {
        const end = Math.min(first + WARP, threads);
        do {
          for (let t = first; t < end; t++) {
            if (states[t] !== READY) continue;
            this.#enter(t);
            const { done, value } = runs[t].next();
            states[t] = done ? DONE : value === AT_BARRIER ? BARRIER : DONE + value;
          }
        } while (this.#exchangeIn(states, first, end));
      }
      const waiting = states.findIndex((state) => state !== DONE);
      if (waiting < 0) return;
      const other = states.findIndex((state) => state !== BARRIER);
      if (other >= 0) {
        this.thread = other;
        const place = states[other] === DONE
          ? "ended"
          : `waits in a ${this.exchanges[states[other] - DONE - 1]} exchange for threads that do not come`;
        throw new EmulationError(`deadlock: thread ${states.indexOf(BARRIER)} waits at a barrier, this one ${place}`);
      }
      this.memory.clock.epochBase += threads;
      states.fill(READY);
    }
  }

  /** Completes exchanges of a warp for which all threads have arrived. Returns true if it completed any. */
  #exchangeIn(states: Int32Array, first: number, end: number): boolean {
    let completed = false;
    for (let t = first; t < end; t++) {
      const state = states[t];
      if (state <= DONE) continue;
      const mask = this.#mask[t];
      if (((mask >>> (t - first)) & 1) === 0) {
        this.thread = t;
        throw new EmulationError("an exchange whose mask leaves out the thread itself");
      }
      let complete = true;
      for (let o = first; o < end && complete; o++) {
        if ((mask >>> (o - first)) & 1) complete = states[o] === state && this.#mask[o] === mask;
      }
      if (!complete) continue;
      for (let o = first; o < end; o++) {
        if ((mask >>> (o - first)) & 1) this.#receive(this.exchanges[state - DONE - 1], mask, o, first, end);
      }
      for (let o = first; o < end; o++) if ((mask >>> (o - first)) & 1) states[o] = READY;
      completed = true;
    }
    return completed;
  }

  /** Computes the value that thread `t` receives (PTX ISA: shfl.sync, vote.sync). */
  #receive(kind: ExchangeKind, mask: number, t: number, first: number, end: number): void {
    if (kind === "ballot") {
      let bits = 0;
      for (let o = first; o < end; o++) {
        if (((mask >>> (o - first)) & 1) && this.#offered[o] !== 0) bits |= 1 << (o - first);
      }
      this.received[t] = bits;
      return;
    }
    const lane = t - first, b = this.#lane[t] & 31, clamp = this.#control[t] & 31;
    const segment = (this.#control[t] >>> 8) & 31;
    const last = (lane & segment) | (clamp & ~segment);
    let source = lane, inside = true;
    if (kind === "bfly") inside = (source = lane ^ b) <= last;
    else if (kind === "idx") inside = (source = (lane & segment) | (b & ~segment)) <= last;
    else if (kind === "down") inside = (source = lane + b) <= last;
    else inside = (source = lane - b) >= last;
    if (!inside) source = lane;
    if (first + source >= end || ((mask >>> source) & 1) === 0) {
      this.thread = t;
      throw new EmulationError(`a ${kind} shuffle reads lane ${source}, which does not take part`);
    }
    this.received[t] = this.#offered[first + source];
  }

  offer(thread: number, value: number, lane: number, control: number, mask: number): void {
    this.#offered[thread] = value;
    this.#lane[thread] = lane;
    this.#control[thread] = control;
    this.#mask[thread] = mask;
  }

  /** Validates an access to device memory and selects the views of its allocation. Returns the allocation. */
  #global(address: number, words: number, site: number): Region {
    const region = this.memory.find(address, this.sites[site]);
    this.#place(region, address % WINDOW_BYTES, words, site);
    return region;
  }

  #place(region: Region, offset: number, words: number, site: number): void {
    if (offset % (4 * words) !== 0) {
      throw new EmulationError(`${this.sites[site]} is misaligned (byte ${offset} of ${region.describe()})`);
    }
    if (offset < 0 || offset + 4 * words > region.byteLength) {
      throw new EmulationError(`${this.sites[site]} is out of bounds (byte ${offset} of ${region.describe()})`);
    }
    this.f32 = region.f32;
    this.i32 = region.i32;
  }

  readGlobal(address: number, words: number, site: number, thread: number): number {
    const region = this.#global(address, words, site);
    const word = (address % WINDOW_BYTES) / 4;
    region.read(word, words, this.memory.clock, this.sites[site]);
    this.traffic?.global(site, thread, address, words);
    return word;
  }

  writeGlobal(address: number, words: number, site: number, thread: number): number {
    const region = this.#global(address, words, site);
    const word = (address % WINDOW_BYTES) / 4;
    region.write(word, words, this.memory.clock, this.sites[site]);
    this.traffic?.global(site, thread, address, words);
    return word;
  }

  atomicGlobal(address: number, site: number, thread: number): number {
    const region = this.#global(address, 1, site);
    const word = (address % WINDOW_BYTES) / 4;
    region.atomic(word, this.memory.clock, this.sites[site]);
    this.traffic?.global(site, thread, address, 1);
    return word;
  }

  readShared(offset: number, words: number, site: number, thread: number): number {
    this.#place(this.shared, offset, words, site);
    this.shared.read(offset / 4, words, this.memory.clock, this.sites[site]);
    this.traffic?.shared(site, thread, offset, words);
    return offset / 4;
  }

  writeShared(offset: number, words: number, site: number, thread: number): number {
    this.#place(this.shared, offset, words, site);
    this.shared.write(offset / 4, words, this.memory.clock, this.sites[site]);
    this.traffic?.shared(site, thread, offset, words);
    return offset / 4;
  }

  atomicShared(offset: number, site: number, thread: number): number {
    this.#place(this.shared, offset, 1, site);
    this.shared.atomic(offset / 4, this.memory.clock, this.sites[site]);
    this.traffic?.shared(site, thread, offset, 1);
    return offset / 4;
  }

  floatOfBits(bits: number): number {
    this.#bits[0] = bits;
    return this.#float[0];
  }

  bitsOfFloat(value: number): number {
    this.#float[0] = value;
    return this.#bits[0];
  }

  /** Checks that a 64-bit result is exact as a double. */
  exact(value: number): number {
    if (!Number.isSafeInteger(value)) throw new EmulationError(`a 64-bit value of ${value} is not emulated`);
    return value;
  }

  divide(a: number, b: number): number {
    if (b === 0) throw new EmulationError("an integer division by zero");
    return Math.trunc(a / b);
  }

  /** cvt.rzi.s32.f32: saturates; NaN becomes 0. */
  truncate(value: number): number {
    return Number.isNaN(value) ? 0 : Math.max(-2147483648, Math.min(2147483647, Math.trunc(value)));
  }

  countBits(bits: number): number {
    let count = 0;
    for (let left = bits; left !== 0; left &= left - 1) count++;
    return count;
  }
}
