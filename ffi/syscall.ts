/** System calls of Linux for which the C library has no function, through its `syscall`. */
import { openLibc } from "./libc.ts";
import { LibraryError } from "./library.ts";

const symbols = {
  syscall: {
    parameters: [
      "i64", // long number
      "i64", // and up to six arguments
      "i64",
      "i64",
      "i64",
      "i64",
      "i64",
    ],
    result: "i32", // of a long: -1, or a small number
  },
  __errno_location: {
    parameters: [],
    result: "pointer", // int *
  },
} as const satisfies Deno.ForeignLibraryInterface;

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
