/**
 * MPI: messages between the processes that mpirun or srun started together.
 *
 * Every operation is begun and then waited for by polling, so that a process can do other work meanwhile, notices in
 * bounded time that its peers are gone, and gives its core away where more processes run than there are cores.
 */
import { openLibrary } from "./library.ts";
import { constantsOf, launched, type MpiConstants, mpiRequest, type MpiSymbols } from "./mpi_library.ts";

/** Only the thread that initialised MPI calls it. */
const THREAD_FUNNELED = 1;
/** Room for MPI's own texts; larger than MPI_MAX_LIBRARY_VERSION_STRING of either library. */
const TEXT_BYTES = 8192;
/** Polls before a process that waits gives its core away, and how long it sleeps then, in milliseconds. */
const SPINS = 4_000;
const SLEEP_MS = 0.05;
/** How long a launcher gets to pass on what a process printed before it aborts, in milliseconds. */
const LAUNCHER_READS_MS = 200;

/** A call that MPI refused. The message holds MPI's own text. */
export class MpiError extends Error {
  override name = "MpiError";
  /** Name of the function. */
  readonly call: string;
  /** What it returned. */
  readonly code: number;

  constructor(call: string, code: number, text: string) {
    super(`${call}: ${text} (${code})`);
    this.call = call;
    this.code = code;
  }
}

/** Peers did not take part in an operation for longer than the time allowed. */
export class MpiTimeout extends Error {
  override name = "MpiTimeout";
}

let opened: Mpi | undefined;

/**
 * Opens the MPI of the launcher that started this process and initialises it, once; alone, a process is a world of one.
 * Throws LibraryError where there is none, and MpiError where the library belongs to another launcher.
 */
export function openMpi(): Mpi {
  return opened ??= initialise();
}

/** The library of this machine and what it calls itself, asked without beginning anything. Throws LibraryError. */
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
  /** Where the library was found. */
  readonly path: string;
  /** First line of what it calls itself. */
  readonly version: string;
  /** Name of the machine this process runs on, as MPI knows it. */
  readonly host: string;
  /** All processes that were started together. */
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

  /** Ends MPI in order, at the first call: every process must. Nothing can be sent afterwards. */
  finalize(): void {
    if (!this.#ended) this.#symbols.MPI_Finalize();
    this.#ended = true;
  }

  /** Ends the processes of all ranks, this one included, once the launcher has had time to pass on what this one printed. */
  abort(exitCode: number): void {
    this.#ended = true;
    // MPICH's launcher may end before it has read the pipe that this process printed its error to.
    Atomics.wait(SLEEPER, 0, 0, LAUNCHER_READS_MS);
    this.#symbols.MPI_Abort(constantsOf(this.#symbols).world, exitCode);
  }
}

/** Calls a function that fills a text and its length. */
function textOf(call: (text: Uint8Array<ArrayBuffer>, length: Int32Array<ArrayBuffer>) => number): string {
  const [text, length] = [new Uint8Array(TEXT_BYTES), new Int32Array(1)];
  call(text, length);
  return new TextDecoder().decode(text.subarray(0, length[0])).replace(/\0.*$/s, "");
}

/** Words or bytes of any memory; typed arrays over memory that processes share included. */
type Words = Float32Array | Uint32Array | Int32Array | Uint8Array;

/** Stand for empty vectors, which have no address: MPI takes two of them for one and refuses that. */
const NO_SOURCE = new Uint8Array(4);
const NO_TARGET = new Uint8Array(4);

/** What FFI takes. Small arrays lie where the collector moves them until someone asks for their buffer. */
function foreign(words: Words, ifEmpty = NO_TARGET): Uint8Array<ArrayBuffer> {
  if (words.length === 0) return ifEmpty;
  void words.buffer;
  return words as Uint8Array<ArrayBuffer>;
}

/** Which part of a vector each rank sends or receives: elements, and the position of the first. */
export interface Parts {
  readonly counts: Int32Array;
  readonly firsts: Int32Array;
}

/** Parts of these sizes, one after the other. */
export function consecutive(counts: ArrayLike<number>): Parts {
  const parts = { counts: Int32Array.from(counts), firsts: new Int32Array(counts.length) };
  for (let r = 1; r < counts.length; r++) parts.firsts[r] = parts.firsts[r - 1] + counts[r - 1];
  return parts;
}

/** An operation under way. Made once and used again and again; it keeps the operation's memory alive. */
export class Request {
  readonly handle: BigUint64Array<ArrayBuffer> = new BigUint64Array(new ArrayBuffer(8));
  readonly #flag = new Int32Array(1);
  readonly #communicator: Communicator;
  #source: Words | undefined;
  #target: Words | undefined;
  #sent: Parts | undefined;
  #received: Parts | undefined;
  #active = false;

  /** Use `Communicator.request`. */
  constructor(communicator: Communicator) {
    this.#communicator = communicator;
  }

  /** Marks that an operation began, over this memory. */
  begin(code: number, call: string, source?: Words, target?: Words, sent?: Parts, received?: Parts): this {
    this.#communicator.check(code, call);
    this.#source = source;
    this.#target = target;
    this.#sent = sent;
    this.#received = received;
    this.#active = true;
    return this;
  }

  /** True if the operation is complete, or none was begun. Asking moves messages on. */
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
 * Some processes that communicate. All of them must call the same operations in the same order. Elements are bytes of
 * a Uint8Array, else words of 4 bytes, at most 2^31 in a vector.
 */
export class Communicator {
  /** This process among those of the communicator, from 0. */
  readonly rank: number;
  /** Processes. */
  readonly ranks: number;
  /** How long to wait for the others, in milliseconds, before they count as gone. */
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

  /** Throws MpiError unless a call's code is that of success. */
  check(code: number, call: string): void {
    if (code === 0) return;
    throw new MpiError(call, code, textOf((text, length) => this.#mpi.MPI_Error_string(code, text, length)));
  }

  /** MPI_Test. */
  test(handle: BigUint64Array<ArrayBuffer>, flag: Int32Array<ArrayBuffer>): number {
    return this.#mpi.MPI_Test(handle, flag, this.#constants.statusIgnore);
  }

  /** Moves messages on that are under way, as libraries do only while they are asked something. */
  poll(): void {
    this.check(this.#mpi.MPI_Iprobe(0, 0, this.#handle, this.#flag, this.#constants.statusIgnore), "MPI_Iprobe");
  }

  /** A request for operations of this communicator. */
  request(): Request {
    return new Request(this);
  }

  /** The processes that gave the same color, ordered by key. */
  split(color: number, key: number): Communicator {
    const handle = new BigUint64Array(1);
    this.check(this.#mpi.MPI_Comm_split(this.#handle, color, key, handle), "MPI_Comm_split");
    const part = new Communicator(this.#mpi, this.#constants, handle[0]);
    part.timeoutMs = this.timeoutMs;
    return part;
  }

  /** Is complete when all processes have begun it. */
  barrier(request: Request): Request {
    return request.begin(this.#mpi.MPI_Ibarrier(this.#handle, request.handle), "MPI_Ibarrier");
  }

  /** Copies the words of rank `root` to all. */
  broadcast(words: Words, root: number, request: Request): Request {
    const type = this.#typeOf(words);
    const code = this.#mpi.MPI_Ibcast(foreign(words), words.length, type, root, this.#handle, request.handle);
    return request.begin(code, "MPI_Ibcast", words);
  }

  /** Collects the vectors of all processes, each in its part of `target`, in all processes. */
  allGather<W extends Words>(source: W, target: W, parts: Parts, request: Request): Request {
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

  /** Sends part r of `source` to rank r, and puts what comes from rank r in part r of `target`. */
  allToAll<W extends Words>(source: W, sent: Parts, target: W, received: Parts, request: Request): Request {
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

  /** Words of any kind travel as floats: no operation looks at them. */
  #typeOf(words: Words): bigint {
    return words instanceof Uint8Array ? this.#constants.byte : this.#constants.float;
  }
}
