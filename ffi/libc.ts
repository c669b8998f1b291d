/** The C library of Linux with glibc; each file declares the functions it calls. */
import { openLibrary } from "./library.ts";

/** Opens the C library for these functions. Throws LibraryError where there is none by its name on Linux. */
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
