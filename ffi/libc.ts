/** The C library of Linux with glibc. Each file declares the functions that it calls. */
import { openLibrary } from "./library.ts";

/** Opens the C library with these functions. Throws LibraryError on other systems. */
export function openLibc<const S extends Deno.ForeignLibraryInterface>(
  symbols: S,
): Deno.StaticForeignLibraryInterface<S> {
  return openLibrary({
    name: "the C library",
    environment: "HOTSET_LIBC",
    names: ["libc.so.6"],
    folders: [],
    symbols,
    install: "apt-get install libc6",
  }).symbols;
}
