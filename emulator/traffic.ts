/**
 * Counts what makes memory accesses slow. An access of a warp is one instruction executed by its 32 threads together:
 * here, the accesses by the same instruction for the n-th time in each thread of the warp.
 *
 * Device memory moves in sectors of 32 bytes: `sectors` counts those that each access touches, `neededSectors` those
 * it would touch if the same bytes lay side by side. Shared memory has 32 banks of 4 bytes: an access takes as many
 * turns as the fullest bank has different words (16-byte accesses go a quarter of a warp at a time).
 */

const SECTOR_BYTES = 32;
const BANKS = 32;

/** What the accesses of one kernel's launches came to. */
export interface KernelTraffic {
  launches: number;
  /** Different bytes that warps asked for, access by access. */
  bytes: number;
  sectors: number;
  neededSectors: number;
  /** The most turns that one access to shared memory took. */
  bankTurns: number;
}

/** Collects the traffic of launches, by kernel name. */
export class Traffic {
  readonly kernels: Map<string, KernelTraffic> = new Map();
  #current: KernelTraffic = { launches: 0, bytes: 0, sectors: 0, neededSectors: 0, bankTurns: 0 };
  #threads = 0;
  /** How often each thread has executed each site, and the accesses of each (site, warp, time). */
  #times = new Int32Array(0);
  readonly #global = new Map<string, number[]>();
  readonly #shared = new Map<string, number[]>();

  beginLaunch(kernel: string): void {
    let current = this.kernels.get(kernel);
    if (current === undefined) {
      this.kernels.set(kernel, current = { launches: 0, bytes: 0, sectors: 0, neededSectors: 0, bankTurns: 0 });
    }
    current.launches++;
    this.#current = current;
  }

  beginBlock(sites: readonly string[], threads: number): void {
    this.#threads = threads;
    if (this.#times.length < sites.length * threads) this.#times = new Int32Array(sites.length * threads);
    this.#times.fill(0);
  }

  global(site: number, thread: number, address: number, words: number): void {
    this.#note(this.#global, site, thread, address, words);
  }

  shared(site: number, thread: number, offset: number, words: number): void {
    this.#note(this.#shared, site, thread, offset, words);
  }

  #note(accesses: Map<string, number[]>, site: number, thread: number, address: number, words: number): void {
    const time = this.#times[site * this.#threads + thread]++;
    const key = `${site} ${thread >> 5} ${time}`;
    const list = accesses.get(key);
    if (list === undefined) accesses.set(key, [words, address]);
    else list.push(address);
  }

  endBlock(): void {
    for (const [words, ...addresses] of this.#global.values()) this.#countSectors(4 * words, addresses);
    for (const [words, ...offsets] of this.#shared.values()) this.#countTurns(words, offsets);
    this.#global.clear();
    this.#shared.clear();
  }

  #countSectors(bytes: number, addresses: number[]): void {
    const different = new Set(addresses);
    const used = different.size * bytes;
    this.#current.bytes += used;
    this.#current.sectors += new Set(addresses.map((address) => Math.floor(address / SECTOR_BYTES))).size;
    this.#current.neededSectors += Math.ceil(used / SECTOR_BYTES);
  }

  #countTurns(words: number, offsets: number[]): void {
    const together = 32 / words;
    for (let first = 0; first < offsets.length; first += together) {
      const banks = new Map<number, Set<number>>();
      for (const offset of offsets.slice(first, first + together)) {
        for (let word = offset / 4; word < offset / 4 + words; word++) {
          const bank = word % BANKS;
          banks.set(bank, (banks.get(bank) ?? new Set()).add(word));
        }
      }
      for (const different of banks.values()) {
        this.#current.bankTurns = Math.max(this.#current.bankTurns, different.size);
      }
    }
  }
}
