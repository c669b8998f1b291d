/** Anonymous memory that processes of one machine share. It is freed when the last process unmaps it. */
import { declare } from "./declare.ts";
import { openLibc } from "./libc.ts";
import { addressOf, cString } from "./pointer.ts";

const symbols = declare({
  memfd_create: ["i32", "buffer name", "u32 flags"],
  ftruncate: ["i32", "i32 fd", "i64 length"],
  open: ["i32", "buffer path", "i32 flags"],
  close: ["i32", "i32 fd"],
  mmap: ["usize", "usize address", "usize length", "i32 protection", "i32 flags", "i32 fd", "i64 offset"],
});

const CLOSE_ON_EXEC = 1;
const READ_WRITE = 3; // PROT_READ | PROT_WRITE
const SHARED_FIXED = 0x11; // MAP_SHARED | MAP_FIXED
const OPEN_READ_WRITE = 2;

/** A mapping replaces whole pages, so lengths must be multiples of this; otherwise adjacent data would be lost. */
const PAGE_BYTES = 4096;

/** Identifies pages of this or another process. Consists of plain numbers, so it can be sent to other processes. */
export interface SharedPages {
  readonly process: number;
  readonly file: number;
}

let opened: Deno.StaticForeignLibraryInterface<typeof symbols> | undefined;

function libc() {
  return opened ??= openLibc(symbols);
}

/**
 * Creates pages of zeros. Throws Error if the system has no memory for them; LibraryError if it is not Linux with
 * glibc.
 */
export function createSharedPages(bytes: number): SharedPages {
  const { memfd_create, ftruncate, close } = libc();
  const file = memfd_create(cString("hotset"), CLOSE_ON_EXEC);
  if (file < 0) throw new Error("Cannot share memory: memfd_create failed");
  if (ftruncate(file, BigInt(bytes)) !== 0) {
    close(file);
    throw new Error(`Cannot share memory: no room for ${bytes} bytes`);
  }
  return { process: Deno.pid, file };
}

/**
 * Replaces the memory of `target` with shared pages. `target` begins at a page boundary of memory that is never moved
 * or freed, such as a WebAssembly memory; its content is lost. Throws Error if the system refuses.
 */
export function mapSharedPages({ process, file }: SharedPages, target: Uint8Array): void {
  if (target.length % PAGE_BYTES !== 0) {
    throw new Error(`Cannot share memory: ${target.length} bytes are not whole pages`);
  }
  const { open, close, mmap } = libc();
  const own = process === Deno.pid;
  const from = own ? file : open(cString(`/proc/${process}/fd/${file}`), OPEN_READ_WRITE);
  if (from < 0) throw new Error(`Cannot share memory: process ${process} denies access to its memory`);
  const address = addressOf(target);
  const mapped = mmap(address, BigInt(target.length), READ_WRITE, SHARED_FIXED, from, 0n);
  if (!own) close(from);
  if (BigInt(mapped) !== address) throw new Error(`Cannot share memory: mmap of ${target.length} bytes failed`);
}

/** Closes this process's handle of pages that it created. They remain while any process maps them. */
export function closeSharedPages({ file }: SharedPages): void {
  libc().close(file);
}
