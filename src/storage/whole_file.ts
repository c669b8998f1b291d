/** A file that appears under its name when it is complete, or not at all. */
import { rmSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { HotsetError, messageOf } from "../errors.ts";
import { throughLinks } from "./links.ts";

const ZEROS = new Uint8Array(4096);

/** Written from its beginning to its end; disposing it before `commit` leaves nothing. */
export class WholeFile implements Disposable {
  /** Bytes written. */
  bytes = 0;
  /** As it was given, for messages. */
  readonly #path: string;
  #target = "";
  #temporary = "";
  #file: Deno.FsFile | undefined;

  /** Begins a file that will replace what is at `path`, whose folder is made if it is not there. Throws HotsetError where none can be written. */
  constructor(path: string) {
    this.#path = path;
    try {
      this.#target = throughLinks(path);
      const { isFile, isDirectory } = Deno.lstatSync(this.#target);
      if (isDirectory) throw new HotsetError(`Cannot write ${path}: a directory is there`, { code: "occupied" });
      if (!isFile) throw new HotsetError(`Cannot write ${path}: it is no file`, { code: "occupied" });
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw this.#failure(error);
    }
    try {
      const folder = dirname(this.#target);
      Deno.mkdirSync(folder, { recursive: true });
      this.#temporary = join(folder, `.${basename(this.#target)}.partial-${Deno.pid}`);
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
      Deno.renameSync(this.#temporary, this.#target);
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
