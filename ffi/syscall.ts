/** System calls of Linux for which the C library has no function, through its `syscall`. */
import { declare } from "./declare.ts";
import { openLibc } from "./libc.ts";
import { LibraryError } from "./library.ts";

const symbols = declare({
  // Returns a long: -1, or a small number.
  syscall: ["i32", "i64 number", "i64 a", "i64 b", "i64 c", "i64 d", "i64 e", "i64 f"],
  __errno_location: ["pointer"],
});

/** Makes system calls. */
export class SystemCalls {
  readonly #libc: Deno.StaticForeignLibraryInterface<typeof symbols>;

  /** Throws LibraryError on other systems than Linux; `what` is what needs the calls. */
  constructor(what: string) {
    if (Deno.build.os !== "linux") throw new LibraryError(`Cannot use ${what}: it needs Linux`, []);
    this.#libc = openLibc(symbols);
  }

  /** Returns a number of 0 or more, or a negative error number. */
  call(number: bigint, a: bigint, b = 0n, c = 0n, d = 0n, e = 0n): number {
    const result = this.#libc.syscall(number, a, b, c, d, e, 0n);
    if (result !== -1) return result;
    return -new Deno.UnsafePointerView(this.#libc.__errno_location()!).getInt32();
  }
}
