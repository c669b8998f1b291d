/** A control group that limits the memory of a command; needs root. */
import { join } from "node:path";

/** Files of version 1 and of version 2. */
const KINDS = [
  { root: "/sys/fs/cgroup/memory", limit: "memory.limit_in_bytes", peak: "memory.max_usage_in_bytes" },
  { root: "/sys/fs/cgroup", limit: "memory.max", peak: "memory.peak" },
] as const;

/** Dispose it after its command has ended. */
export class MemoryGroup implements Disposable {
  readonly #directory: string;

  private constructor(directory: string) {
    this.#directory = directory;
  }

  /** A group with this limit in bytes, page cache included; the reason if it cannot be created. */
  static make(bytes: number): MemoryGroup | string {
    const reasons = KINDS.map(({ root, limit }) => {
      const directory = join(root, `hotset-bench-${Deno.pid}`);
      try {
        Deno.statSync(join(root, "cgroup.procs"));
        Deno.mkdirSync(directory, { recursive: true });
        Deno.writeTextFileSync(join(directory, limit), `${Math.ceil(bytes)}`);
        return new MemoryGroup(directory);
      } catch (error) {
        return `${root}: ${(error as Error).message}`;
      }
    });
    return reasons.find((made) => made instanceof MemoryGroup) ?? reasons.join("; ");
  }

  /** A command line that runs another one in the group. */
  within(command: string, args: readonly string[]): [command: string, args: string[]] {
    const script = 'echo $$ > "$0" && exec "$@"';
    return ["sh", ["-c", script, join(this.#directory, "cgroup.procs"), command, ...args]];
  }

  [Symbol.dispose](): void {
    Deno.removeSync(this.#directory);
  }
}
