/**
 * Reads and writes at positions of files by the C library of Linux or macOS, which any thread can make to memory known
 * by its address.
 */
import { declare, definitionOf } from "./declare.ts";
import { openLibc } from "./libc.ts";

const symbols = declare({
  // Both return a ssize_t: at most count, which is small.
  pread: ["i32", "i32 fd", "pointer buf", "usize count", "i64 offset"],
  pwrite: ["i32", "i32 fd", "pointer buf", "usize count", "i64 offset"],
  errno: { ...definitionOf(["pointer"]), name: Deno.build.os === "darwin" ? "__error" : "__errno_location" },
});

/** A function that makes one transfer and returns its bytes, or a negative error number. Throws LibraryError. */
export function openPread(): (write: boolean, fd: number, position: number, address: number, length: number) => number {
  const libc = openLibc(symbols, ["libc.so.6", "libSystem.B.dylib"]); // of Linux and macOS
  return (write, fd, position, address, length) => {
    const memory = Deno.UnsafePointer.create(BigInt(address));
    const result = write
      ? libc.pwrite(fd, memory, BigInt(length), BigInt(position))
      : libc.pread(fd, memory, BigInt(length), BigInt(position));
    return result >= 0 ? result : -new Deno.UnsafePointerView(libc.errno()!).getInt32();
  };
}
