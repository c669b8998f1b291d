/** File systems of a few MiB, to test full disks. */
import { TemporaryDirectory } from "./temporary.ts";

/** A file system in memory with this number of MiB; not mounted if this process lacks the permission. */
export class SmallDisk extends TemporaryDirectory {
  readonly isMounted: boolean;

  constructor(mebibytes: number) {
    super();
    this.isMounted = succeeds("mount", "-t", "tmpfs", "-o", `size=${mebibytes}m`, "tmpfs", this.path);
  }

  /** Fills it with a file and returns its path. */
  fill(): string {
    const path = this.join("filler");
    using file = Deno.openSync(path, { write: true, create: true });
    for (let bytes = 65_536; bytes >= 4096; bytes /= 2) {
      try {
        for (;;) file.writeSync(new Uint8Array(bytes));
      } catch {
        // There is no space for this number of bytes.
      }
    }
    return path;
  }

  override [Symbol.dispose](): void {
    if (this.isMounted) succeeds("umount", this.path);
    super[Symbol.dispose]();
  }
}

function succeeds(command: string, ...args: string[]): boolean {
  try {
    return new Deno.Command(command, { args, stdout: "null", stderr: "null" }).outputSync().success;
  } catch {
    return false;
  }
}

/** Options of a test that needs such a disk: it is ignored, with the reason, if none can be mounted. */
export function onSmallDisk(name: string): { name: string; ignore: boolean } {
  using disk = new SmallDisk(1);
  const ignore = !disk.isMounted;
  return { name: `${name}${ignore ? " (skipped: no file system may be mounted)" : ""}`, ignore };
}
