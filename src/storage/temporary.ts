/** Directories that are gone when they are not needed any more. */
import { join } from "node:path";
import { HotsetError, messageOf } from "../errors.ts";

/** A new directory, removed with all that is in it when disposed. */
export class TemporaryDirectory implements Disposable {
  readonly path: string;

  /** Made in `dir`, by default where the system keeps what is temporary. Throws HotsetError where none can be made. */
  constructor(prefix: string, dir?: string) {
    try {
      this.path = Deno.makeTempDirSync(dir === undefined ? { prefix } : { prefix, dir });
    } catch (error) {
      if (error instanceof Deno.errors.NotCapable) throw error;
      const where = dir ?? "the folder for temporary files, which TMPDIR names";
      throw new HotsetError(`Cannot write to ${where}: ${messageOf(error)}`, { cause: error });
    }
  }

  /** A path inside. */
  join(...names: string[]): string {
    return join(this.path, ...names);
  }

  [Symbol.dispose](): void {
    Deno.removeSync(this.path, { recursive: true });
  }
}
