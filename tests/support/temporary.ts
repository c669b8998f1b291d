/** Directories that are gone when the test is. */
import { join } from "node:path";

/** A new directory, removed when disposed. */
export class TemporaryDirectory implements Disposable {
  readonly path = Deno.makeTempDirSync({ prefix: "hotset-test-" });

  /** A path inside. */
  join(...names: string[]): string {
    return join(this.path, ...names);
  }

  [Symbol.dispose](): void {
    Deno.removeSync(this.path, { recursive: true });
  }
}
