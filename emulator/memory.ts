/**
 * Device memory of the emulated device. Allocations have address windows 64 GiB apart, so that an out-of-bounds access
 * almost never hits another allocation and is detected.
 *
 * In addition to its bytes an allocation has shadow words. They record whether each word was ever written, and which
 * thread of the current launch last read or wrote it (to detect races).
 */

/** An invalid access or call that the emulated device has detected. */
export class EmulationError extends Error {
  override name = "EmulationError";
}

/** Distance between the first addresses of consecutive allocations. */
export const WINDOW_BYTES = 2 ** 36;

/**
 * Numbers accesses in the order of launches, blocks, barriers and threads. Shadow words store these numbers ("stamps").
 */
class Clock {
  /** Larger stamps belong to the current launch. */
  launchBase = 0;
  /** Larger stamps belong to the current block. */
  blockBase = 0;
  /** Larger stamps are from after the current block's last barrier. */
  epochBase = 0;
  /** Stamp of the current thread: epochBase + its index in the block + 1. */
  now = 0;

  /**
   * True if the access with this stamp is by another thread and no barrier or launch orders it before the current one.
   */
  races(stamp: number): boolean {
    return (stamp > this.epochBase && stamp !== this.now) || (stamp > this.launchBase && stamp <= this.blockBase);
  }
}

/** One allocation, or the shared memory of a block. Indices count words of 4 bytes. */
export class Region {
  readonly name: string;
  readonly byteLength: number;
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly f32: Float32Array<ArrayBuffer>;
  readonly i32: Int32Array<ArrayBuffer>;
  readonly written: Uint8Array<ArrayBuffer>;
  /** Stamps of the last writer, the last reader and the reader before it; allocated at the first access by a kernel. */
  #writer = new Int32Array(0);
  #reader = new Int32Array(0);
  #earlier = new Int32Array(0);
  #atomic = new Uint8Array(0);

  constructor(name: string, byteLength: number) {
    this.name = name;
    this.byteLength = byteLength;
    const words = Math.ceil(byteLength / 4);
    this.bytes = new Uint8Array(4 * words);
    this.f32 = new Float32Array(this.bytes.buffer);
    this.i32 = new Int32Array(this.bytes.buffer);
    this.written = new Uint8Array(words);
  }

  /** Clears all stamps, because the clock restarts. */
  resetStamps(): void {
    this.#writer.fill(0);
    this.#reader.fill(0);
    this.#earlier.fill(0);
  }

  /** Marks all words as unwritten; for shared memory at the beginning of a block. */
  reset(): void {
    this.written.fill(0);
    this.resetStamps();
  }

  /** Validates an access of the host to a range of bytes. A write marks the words as written; a read requires it. */
  checkRange(offset: number, byteLength: number, write: boolean, doing: string): void {
    if (offset < 0 || offset + byteLength > this.byteLength) {
      throw new EmulationError(`${doing} reaches bytes ${offset} to ${offset + byteLength} of ${this.describe()}`);
    }
    const first = offset >>> 2, end = Math.ceil((offset + byteLength) / 4);
    if (write) this.written.fill(1, first, end);
    else {
      const missing = this.written.subarray(first, end).indexOf(0);
      if (missing >= 0) this.#fail(doing, "reads memory that was never written", first + missing);
    }
  }

  /**
   * Checks that a kernel may read words `[word, word + count)`, which are aligned and in bounds, and records the
   * access.
   */
  read(word: number, count: number, clock: Clock, doing: string): void {
    if (this.#writer.length === 0) this.#track();
    for (let w = word; w < word + count; w++) {
      if (this.written[w] === 0) this.#fail(doing, "reads memory that was never written", w);
      if (clock.races(this.#writer[w])) this.#fail(doing, "races: another thread wrote, nothing orders the read", w);
      if (this.#reader[w] !== clock.now) {
        this.#earlier[w] = this.#reader[w];
        this.#reader[w] = clock.now;
      }
    }
  }

  /** Checks that a kernel may write words `[word, word + count)`, and records the access. */
  write(word: number, count: number, clock: Clock, doing: string): void {
    if (this.#writer.length === 0) this.#track();
    for (let w = word; w < word + count; w++) {
      if (clock.races(this.#writer[w])) this.#fail(doing, "races: another thread wrote, nothing orders the write", w);
      this.#checkReaders(w, clock, doing);
      this.#writer[w] = clock.now;
      this.#atomic[w] = 0;
      this.written[w] = 1;
    }
  }

  /** Checks an atomic operation on a word. Atomic operations do not race with each other. */
  atomic(word: number, clock: Clock, doing: string): void {
    if (this.#writer.length === 0) this.#track();
    if (this.written[word] === 0) this.#fail(doing, "reads memory that was never written", word);
    if (this.#atomic[word] === 0 && clock.races(this.#writer[word])) {
      this.#fail(doing, "races: another thread wrote without an atomic operation", word);
    }
    this.#checkReaders(word, clock, doing);
    this.#writer[word] = clock.now;
    this.#atomic[word] = 1;
  }

  #checkReaders(word: number, clock: Clock, doing: string): void {
    if (clock.races(this.#reader[word]) || clock.races(this.#earlier[word])) {
      this.#fail(doing, "races: another thread read, nothing orders the write", word);
    }
  }

  #track(): void {
    const words = this.written.length;
    this.#writer = new Int32Array(words);
    this.#reader = new Int32Array(words);
    this.#earlier = new Int32Array(words);
    this.#atomic = new Uint8Array(words);
  }

  #fail(doing: string, what: string, word: number): never {
    throw new EmulationError(`${doing} ${what} (byte ${4 * word} of ${this.describe()})`);
  }

  describe(): string {
    return `${this.name} of ${this.byteLength} bytes`;
  }
}

/** All allocations of the device. */
export class DeviceMemory {
  readonly clock = new Clock();
  readonly totalBytes: number;
  usedBytes = 0;
  /** Index: address window. A freed allocation is replaced by its description. */
  readonly #regions: (Region | string | undefined)[] = [undefined];
  #allocations = 0;

  constructor(totalBytes: number) {
    this.totalBytes = totalBytes;
  }

  /** Allocates memory, which is unwritten, and returns its address; undefined if there is not enough. */
  allocate(byteLength: number): number | undefined {
    if (this.usedBytes + byteLength > this.totalBytes) return undefined;
    const region = new Region(`allocation ${++this.#allocations}`, byteLength);
    this.usedBytes += byteLength;
    return (this.#regions.push(region) - 1) * WINDOW_BYTES;
  }

  /** Frees the allocation that begins at this address. */
  free(address: number): void {
    const region = this.find(address, "cudaFree");
    if (address % WINDOW_BYTES !== 0) {
      throw new EmulationError(`cudaFree of an address inside ${region.describe()}`);
    }
    this.usedBytes -= region.byteLength;
    this.#regions[address / WINDOW_BYTES] = region.describe();
  }

  /** The allocation that contains an address. */
  find(address: number, doing: string): Region {
    const region = this.#regions[Math.floor(address / WINDOW_BYTES)];
    if (region instanceof Region) return region;
    if (region === undefined) throw new EmulationError(`${doing} uses address ${address}, which is not device memory`);
    throw new EmulationError(`${doing} uses ${region} after it was freed`);
  }

  /** Validates an access of the host to a range of bytes; returns the allocation and the offset in it. */
  range(address: number, byteLength: number, write: boolean, doing: string): { region: Region; offset: number } {
    const region = this.find(address, doing);
    const offset = address % WINDOW_BYTES;
    region.checkRange(offset, byteLength, write, doing);
    return { region, offset };
  }

  /** Begins a launch, which is ordered after all earlier accesses. */
  beginLaunch(): void {
    if (this.clock.epochBase > 2 ** 30) {
      this.clock.epochBase = 0;
      for (const region of this.#regions) if (region instanceof Region) region.resetStamps();
    }
    this.clock.launchBase = this.clock.blockBase = this.clock.epochBase;
  }

  /** Describes the allocations that were not freed. */
  leaks(): string[] {
    return this.#regions.filter((region) => region instanceof Region).map((region) => region.describe());
  }
}
