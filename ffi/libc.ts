/** The C library: of Linux with glibc, unless a file asks for that of macOS too. Each file declares what it calls. */
import { openLibrary } from "./library.ts";

/** Opens the C library with these functions. Throws LibraryError on other systems than those of its `names`. */
export function openLibc<const S extends Deno.ForeignLibraryInterface>(
  symbols: S,
  names: readonly string[] = ["libc.so.6"],
): Deno.StaticForeignLibraryInterface<S> {
  return openLibrary({
    name: "the C library",
    environment: "HOTSET_LIBC",
    names,
    folders: [],
    symbols,
    install: "apt-get install libc6",
  }).symbols;
}
