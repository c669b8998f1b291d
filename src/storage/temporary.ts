/** Temporary directories. */
import { basename, dirname, join } from "node:path";
import { HotsetError, messageOf } from "../errors.ts";
import { throughLinks } from "./links.ts";
import { partialPath } from "./partial.ts";

/** A new directory, removed with its content when disposed. */
export class TemporaryDirectory implements Disposable {
  readonly path: string;

  /** Creates it in `dir`, by default the system's directory for temporary files. Throws HotsetError if that fails. */
  constructor(prefix: string, dir?: string) {
    try {
      this.path = Deno.makeTempDirSync(dir === undefined ? { prefix } : { prefix, dir });
    } catch (error) {
      if (error instanceof Deno.errors.NotCapable) throw error;
      const where = dir ?? "the folder for temporary files, which TMPDIR names";
      throw new HotsetError(`Cannot write to ${where}: ${messageOf(error)}`, { cause: error });
    }
  }

  /** One beside an output. `hotset clean` removes it after a kill. Throws HotsetError if that fails. */
  static beside(output: string): TemporaryDirectory {
    const path = partialPath(throughLinks(output));
    return new TemporaryDirectory(`${basename(path)}-`, dirname(path));
  }

  join(...names: string[]): string {
    return join(this.path, ...names);
  }

  [Symbol.dispose](): void {
    Deno.removeSync(this.path, { recursive: true });
  }
}
