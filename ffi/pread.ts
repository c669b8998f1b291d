/**
 * Reads and writes at positions of files by the C library of Linux or macOS, which any thread can make to memory known
 * by its address.
 */
import { openLibc } from "./libc.ts";

const symbols = {
  pread: {
    parameters: [
      "i32", // int fd
      "pointer", // void *buf
      "usize", // size_t count
      "i64", // off_t offset
    ],
    result: "i32", // of a ssize_t: at most count, which is small
  },
  pwrite: {
    parameters: [
      "i32", // int fd
      "pointer", // const void *buf
      "usize", // size_t count
      "i64", // off_t offset
    ],
    result: "i32",
  },
  errno: {
    name: Deno.build.os === "darwin" ? "__error" : "__errno_location",
    parameters: [],
    result: "pointer", // int *
  },
} as const satisfies Deno.ForeignLibraryInterface;

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
