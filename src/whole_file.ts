/** A file that appears under its name when it is complete, or not at all. */
import { rmSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { HotsetError, messageOf } from "./errors.ts";

const ZEROS = new Uint8Array(4096);

/** Written from its beginning to its end; disposing it before `commit` leaves nothing. */
export class WholeFile implements Disposable {
  /** Bytes written. */
  bytes = 0;
  readonly #path: string;
  readonly #temporary: string;
  #file: Deno.FsFile | undefined;

  /** Begins a file that will replace what is at `path`, whose folder is made if it is not there. Throws HotsetError where none can be written. */
  constructor(path: string) {
    this.#path = path;
    this.#temporary = join(dirname(path), `.${basename(path)}.partial-${Deno.pid}`);
    try {
      const { isFile, isSymlink, isDirectory } = Deno.lstatSync(path);
      if (isDirectory) throw new HotsetError(`Cannot write ${path}: a directory is there`, { code: "occupied" });
      if (!isFile && !isSymlink) throw new HotsetError(`Cannot write ${path}: it is no file`, { code: "occupied" });
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw this.#failure(error);
    }
    try {
      Deno.mkdirSync(dirname(path), { recursive: true });
      this.#file = Deno.openSync(this.#temporary, { write: true, create: true, truncate: true });
    } catch (error) {
      throw this.#failure(error);
    }
  }

  /** Appends bytes. Throws HotsetError when the disk refuses them. */
  append(bytes: Uint8Array): void {
    try {
      for (let done = 0; done < bytes.length;) done += this.#file!.writeSync(bytes.subarray(done));
    } catch (error) {
      throw this.#failure(error);
    }
    this.bytes += bytes.length;
  }

  /** Appends zeros up to a multiple of `alignment`, at most 4096. */
  align(alignment: number): void {
    this.append(ZEROS.subarray(0, (alignment - this.bytes % alignment) % alignment));
  }

  /** Gives the complete file its name. */
  commit(): void {
    try {
      this.#close();
      Deno.renameSync(this.#temporary, this.#path);
    } catch (error) {
      throw this.#failure(error);
    }
  }

  #failure(error: unknown): HotsetError {
    if (error instanceof HotsetError) return error;
    return new HotsetError(`Cannot write ${this.#path}: ${messageOf(error)}`, { cause: error });
  }

  #close(): void {
    this.#file?.close();
    this.#file = undefined;
  }

  [Symbol.dispose](): void {
    if (this.#file === undefined) return;
    this.#close();
    rmSync(this.#temporary, { force: true });
  }
}
