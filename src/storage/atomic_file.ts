/** Files that appear under their names only when they are complete. */
import { rmSync } from "node:fs";
import { dirname } from "node:path";
import { attempt, HotsetError } from "../errors.ts";
import { throughLinks } from "./links.ts";
import { writeAll } from "./output_file.ts";
import { partialPath } from "./partial.ts";

const ZEROS = new Uint8Array(4096);

/** A path for a file that others write at `temporary`; disposing it before `commit` removes the file. */
export class AtomicPath implements Disposable {
  /** Path of the file until it is complete, next to its final path. */
  readonly temporary: string;
  readonly #target: string;
  /** The beginning of the message of an error. */
  protected readonly failure: string;
  #isThere = true;

  /**
   * Begins a file that will replace the one at `path`; creates its directory if needed. Throws HotsetError "Cannot
   * `doing`" if no file can be created.
   */
  constructor(path: string, doing = `write ${path}`) {
    this.failure = `Cannot ${doing}`;
    [this.#target, this.temporary] = attempt(this.failure, () => {
      const target = throughLinks(path);
      expectFileOrNothing(target);
      Deno.mkdirSync(dirname(target), { recursive: true });
      return [target, partialPath(target)];
    });
  }

  /** Renames the complete file to its final path. */
  commit(): void {
    attempt(this.failure, () => Deno.renameSync(this.temporary, this.#target));
    this.#isThere = false;
  }

  [Symbol.dispose](): void {
    if (this.#isThere) rmSync(this.temporary, { force: true });
  }
}

function expectFileOrNothing(path: string): void {
  try {
    const { isFile, isDirectory } = Deno.lstatSync(path);
    if (isDirectory) throw new HotsetError("a directory has that name", { code: "occupied" });
    if (!isFile) throw new HotsetError("it is not a file", { code: "occupied" });
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}

/** A file that is written sequentially. */
export class AtomicFile extends AtomicPath {
  /** Bytes written. */
  bytes = 0;
  #file: Deno.FsFile | undefined;

  /** Like AtomicPath, and opens the file. */
  constructor(path: string, doing?: string) {
    super(path, doing);
    this.#file = attempt(
      this.failure,
      () => Deno.openSync(this.temporary, { write: true, create: true, truncate: true }),
    );
  }

  /** Writes arrays one after the other to a new file. Throws HotsetError. */
  static write(path: string, arrays: readonly ArrayBufferView[], doing?: string): void {
    using file = new AtomicFile(path, doing);
    for (const array of arrays) file.append(array);
    file.commit();
  }

  /** Appends an array's bytes. Throws HotsetError if writing fails. */
  append({ buffer, byteOffset, byteLength }: ArrayBufferView): void {
    attempt(this.failure, () => writeAll(this.#file!, new Uint8Array(buffer, byteOffset, byteLength)));
    this.bytes += byteLength;
  }

  /** Appends zeros up to a multiple of `alignment`, at most 4096. */
  align(alignment: number): void {
    this.append(ZEROS.subarray(0, (alignment - this.bytes % alignment) % alignment));
  }

  override commit(): void {
    attempt(this.failure, () => this.#close());
    super.commit();
  }

  #close(): void {
    this.#file?.close();
    this.#file = undefined;
  }

  override [Symbol.dispose](): void {
    this.#close();
    super[Symbol.dispose]();
  }
}
