/** Temporary directories that are removed at the end of a test. */
import { join } from "node:path";

/** A new directory, removed when disposed. */
export class TemporaryDirectory implements Disposable {
  readonly path = Deno.makeTempDirSync({ prefix: "hotset-test-" });

  /** A path in the directory. */
  join(...names: string[]): string {
    return join(this.path, ...names);
  }

  [Symbol.dispose](): void {
    Deno.removeSync(this.path, { recursive: true });
  }
}
