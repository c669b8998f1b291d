/**
 * Counts the causes of slow memory accesses. An access of a warp is one instruction that its 32 threads execute
 * together; here, the n-th execution of the same instruction in each thread of the warp.
 *
 * Device memory is transferred in sectors of 32 bytes: `sectors` counts those that accesses touch, `neededSectors` the
 * minimum if the same bytes were contiguous. Shared memory has 32 banks of 4 bytes: an access takes one turn for each
 * different word in its fullest bank (16-byte accesses are executed a quarter of a warp at a time).
 */

const SECTOR_BYTES = 32;
const BANKS = 32;

/** Accesses of all launches of a kernel. */
export interface KernelTraffic {
  launches: number;
  /** Distinct bytes that warps accessed, summed over accesses. */
  bytes: number;
  sectors: number;
  neededSectors: number;
  /** Maximum turns of one access to shared memory. */
  bankTurns: number;
}

/** Collects the traffic of launches by kernel name. */
export class Traffic {
  readonly kernels: Map<string, KernelTraffic> = new Map();
  #current: KernelTraffic = { launches: 0, bytes: 0, sectors: 0, neededSectors: 0, bankTurns: 0 };
  #threads = 0;
  /** Number of executions of each site by each thread; then the accesses by (site, warp, execution). */
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
