/**
 * MPI: messages between processes that mpirun or srun started together.
 *
 * Every operation is non-blocking and then polled, so that a process can do other work meanwhile, detects missing peers
 * within a bounded time, and yields its core if there are more processes than cores.
 */
import { openLibrary } from "./library.ts";
import { constantsOf, launched, type MpiConstants, mpiRequest, type MpiSymbols } from "./mpi_library.ts";

/** Thread support: only the thread that initialised MPI calls it. */
const THREAD_FUNNELED = 1;
/** Buffer size for texts of MPI; larger than MPI_MAX_LIBRARY_VERSION_STRING of all implementations. */
const TEXT_BYTES = 8192;
/** Number of polls before a waiting process sleeps, and the duration of each sleep in milliseconds. */
const SPINS = 4_000;
const SLEEP_MS = 0.05;
/** Time for the launcher to forward the output of a process before it aborts, in milliseconds. */
const LAUNCHER_READS_MS = 200;

/** A call that MPI refused. The message contains MPI's own text. */
export class MpiError extends Error {
  override name = "MpiError";
  /** Name of the function that failed. */
  readonly call: string;
  /** Its return code. */
  readonly code: number;

  constructor(call: string, code: number, text: string) {
    super(`${call}: ${text} (${code})`);
    this.call = call;
    this.code = code;
  }
}

/** Peers did not take part in an operation within the time limit. */
export class MpiTimeout extends Error {
  override name = "MpiTimeout";
}

let opened: Mpi | undefined;

/**
 * Opens the MPI library of the launcher that started this process, and initialises it at the first call. Without a
 * launcher the process is a world of size one. Throws LibraryError if there is no library, and MpiError if the library
 * belongs to another launcher.
 */
export function openMpi(): Mpi {
  return opened ??= initialise();
}

/** Path and version of this machine's library, without initialising it. Throws LibraryError. */
export function mpiVersion(): { path: string; version: string } {
  const { path, symbols: mpi } = openLibrary(mpiRequest(launched().mpich));
  return { path, version: versionOf(mpi) };
}

function versionOf(mpi: MpiSymbols): string {
  return textOf(mpi.MPI_Get_library_version).split("\n")[0];
}

function initialise(): Mpi {
  const { ranks, mpich } = launched();
  const { path, symbols: mpi } = openLibrary(mpiRequest(mpich));
  const code = mpi.MPI_Init_thread(0n, 0n, THREAD_FUNNELED, new Int32Array(1));
  if (code !== 0) throw new MpiError("MPI_Init_thread", code, `${path} cannot begin`);
  const result = new Mpi(path, mpi);
  if (result.world.ranks === 1 && ranks > 1) {
    result.finalize();
    throw new MpiError(
      "MPI_Comm_size",
      0,
      `${ranks} processes were started, but ${path} sees only one: it belongs to another mpirun; ` +
        `set HOTSET_MPI to the library of the mpirun in use`,
    );
  }
  return result;
}

/** An initialised MPI. */
export class Mpi {
  /** Path of the library. */
  readonly path: string;
  /** First line of the library's version text. */
  readonly version: string;
  /** Name of this machine according to MPI. */
  readonly host: string;
  /** All processes of the launch. */
  readonly world: Communicator;
  readonly #symbols: MpiSymbols;
  #ended = false;

  /** Use `openMpi`. */
  constructor(path: string, mpi: MpiSymbols) {
    this.path = path;
    this.#symbols = mpi;
    this.version = versionOf(mpi);
    this.host = textOf(mpi.MPI_Get_processor_name);
    this.world = new Communicator(mpi, constantsOf(mpi), undefined);
  }

  /** Finalizes MPI at the first call. Every process must call it; no messages can be sent afterwards. */
  finalize(): void {
    if (!this.#ended) this.#symbols.MPI_Finalize();
    this.#ended = true;
  }

  /** Terminates the processes of all ranks, including this one, after the launcher had time to forward its output. */
  abort(exitCode: number): void {
    this.#ended = true;
    // MPICH's launcher may exit before it has read the last output of this process.
    Atomics.wait(SLEEPER, 0, 0, LAUNCHER_READS_MS);
    this.#symbols.MPI_Abort(constantsOf(this.#symbols).world, exitCode);
  }
}

/** Calls a function that fills a text buffer and its length. */
function textOf(call: (text: Uint8Array<ArrayBuffer>, length: Int32Array<ArrayBuffer>) => number): string {
  const [text, length] = [new Uint8Array(TEXT_BYTES), new Int32Array(1)];
  call(text, length);
  return new TextDecoder().decode(text.subarray(0, length[0])).replace(/\0.*$/s, "");
}

/** Vectors in any memory, including memory shared between processes. */
type Words = Float32Array | Uint32Array | Int32Array | Uint8Array;

/** Placeholders for empty vectors, which have no address: MPI rejects equal addresses of source and target. */
const NO_SOURCE = new Uint8Array(4);
const NO_TARGET = new Uint8Array(4);

/**
 * Memory as FFI accepts it. Small arrays are on the heap, where the garbage collector moves them until their `buffer`
 * is used.
 */
function foreign(words: Words, ifEmpty = NO_TARGET): Uint8Array<ArrayBuffer> {
  if (words.length === 0) return ifEmpty;
  void words.buffer;
  return words as Uint8Array<ArrayBuffer>;
}

/** How a vector is divided among ranks: number and position of each rank's elements. */
export interface RankParts {
  readonly counts: Int32Array;
  readonly firsts: Int32Array;
}

/** A pending operation. It is created once and reused, and keeps the operation's memory alive. */
export class Request {
  readonly handle: BigUint64Array<ArrayBuffer> = new BigUint64Array(new ArrayBuffer(8));
  readonly #flag = new Int32Array(1);
  readonly #communicator: Communicator;
  #source: Words | undefined;
  #target: Words | undefined;
  #sent: RankParts | undefined;
  #received: RankParts | undefined;
  #active = false;

  /** Use `Communicator.request`. */
  constructor(communicator: Communicator) {
    this.#communicator = communicator;
  }

  /** Records that an operation over this memory has begun. */
  begin(code: number, call: string, source?: Words, target?: Words, sent?: RankParts, received?: RankParts): this {
    this.#communicator.check(code, call);
    this.#source = source;
    this.#target = target;
    this.#sent = sent;
    this.#received = received;
    this.#active = true;
    return this;
  }

  /** True from the beginning of an operation until `done` or `wait` has found it complete. */
  get pending(): boolean {
    return this.#active;
  }

  /** True if the operation is complete, or if none has begun. Polling also makes messages progress. */
  done(): boolean {
    if (!this.#active) return true;
    this.#communicator.check(this.#communicator.test(this.handle, this.#flag), "MPI_Test");
    this.#active = this.#flag[0] === 0;
    return !this.#active;
  }

  /** Waits until the operation is complete. Throws MpiTimeout after `Communicator.timeoutMs` without the peers. */
  wait(): void {
    for (let spin = 0; spin < SPINS; spin++) if (this.done()) return;
    const begin = performance.now();
    while (!this.done()) {
      Atomics.wait(SLEEPER, 0, 0, SLEEP_MS);
      const waited = performance.now() - begin;
      if (waited > this.#communicator.timeoutMs) {
        throw new MpiTimeout(`Cannot continue: other ranks did not answer for ${Math.round(waited / 1000)} seconds`);
      }
    }
  }
}

const SLEEPER = new Int32Array(new SharedArrayBuffer(4));

/**
 * Processes that communicate. All of them must call the same operations in the same order. Elements are bytes of a
 * Uint8Array, otherwise words of 4 bytes; at most 2^31 per vector.
 */
export class Communicator {
  /** Rank of this process in the communicator, from 0. */
  readonly rank: number;
  /** Number of processes. */
  readonly ranks: number;
  /** Time to wait for other processes before they are considered lost, in milliseconds. */
  timeoutMs = Infinity;
  readonly #mpi: MpiSymbols;
  readonly #constants: MpiConstants;
  readonly #handle: bigint;
  readonly #flag = new Int32Array(1);

  /** Use `Mpi.world` and `split`. */
  constructor(mpi: MpiSymbols, constants: MpiConstants, handle: bigint | undefined) {
    this.#mpi = mpi;
    this.#constants = constants;
    this.#handle = handle ?? constants.world;
    this.check(mpi.MPI_Comm_set_errhandler(this.#handle, constants.errorsReturn), "MPI_Comm_set_errhandler");
    const number = new Int32Array(1);
    this.check(mpi.MPI_Comm_rank(this.#handle, number), "MPI_Comm_rank");
    this.rank = number[0];
    this.check(mpi.MPI_Comm_size(this.#handle, number), "MPI_Comm_size");
    this.ranks = number[0];
  }

  /** Throws MpiError unless a return code means success. */
  check(code: number, call: string): void {
    if (code === 0) return;
    throw new MpiError(call, code, textOf((text, length) => this.#mpi.MPI_Error_string(code, text, length)));
  }

  /** MPI_Test. */
  test(handle: BigUint64Array<ArrayBuffer>, flag: Int32Array<ArrayBuffer>): number {
    return this.#mpi.MPI_Test(handle, flag, this.#constants.statusIgnore);
  }

  /** Makes pending messages progress; libraries do so only during calls. */
  poll(): void {
    this.check(this.#mpi.MPI_Iprobe(0, 0, this.#handle, this.#flag, this.#constants.statusIgnore), "MPI_Iprobe");
  }

  /** Creates a request for operations of this communicator. */
  request(): Request {
    return new Request(this);
  }

  /** The processes that passed the same color, in the order of their keys. */
  split(color: number, key: number): Communicator {
    const handle = new BigUint64Array(1);
    this.check(this.#mpi.MPI_Comm_split(this.#handle, color, key, handle), "MPI_Comm_split");
    const part = new Communicator(this.#mpi, this.#constants, handle[0]);
    part.timeoutMs = this.timeoutMs;
    return part;
  }

  /** Completes when all processes have begun it. */
  barrier(request: Request): Request {
    return request.begin(this.#mpi.MPI_Ibarrier(this.#handle, request.handle), "MPI_Ibarrier");
  }

  /** Gathers the vectors of all processes in all processes, each at its part of `target`. */
  allGather<W extends Words>(source: W, target: W, parts: RankParts, request: Request): Request {
    const type = this.#typeOf(source);
    const code = this.#mpi.MPI_Iallgatherv(
      foreign(source, NO_SOURCE),
      source.length,
      type,
      foreign(target),
      foreign(parts.counts),
      foreign(parts.firsts),
      type,
      this.#handle,
      request.handle,
    );
    return request.begin(code, "MPI_Iallgatherv", source, target, parts);
  }

  /** Sends part r of `source` to rank r, and receives part r of `target` from rank r. */
  allToAll<W extends Words>(source: W, sent: RankParts, target: W, received: RankParts, request: Request): Request {
    const type = this.#typeOf(source);
    const code = this.#mpi.MPI_Ialltoallv(
      foreign(source, NO_SOURCE),
      foreign(sent.counts),
      foreign(sent.firsts),
      type,
      foreign(target),
      foreign(received.counts),
      foreign(received.firsts),
      type,
      this.#handle,
      request.handle,
    );
    return request.begin(code, "MPI_Ialltoallv", source, target, sent, received);
  }

  /** MPI type of elements. All 4-byte words are sent as floats, because no operation computes with them. */
  #typeOf(words: Words): bigint {
    return words instanceof Uint8Array ? this.#constants.byte : this.#constants.float;
  }
}
