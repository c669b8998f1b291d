/** Memory that processes of one machine share: pages without a name, which vanish with the last process that maps them. */
import { openLibc } from "./libc.ts";
import { addressOf, cString } from "./pointer.ts";

const symbols = {
  memfd_create: { parameters: ["buffer", /* const char *name */ "u32" /* unsigned flags */], result: "i32" },
  ftruncate: { parameters: ["i32", /* int fd */ "i64" /* off_t length */], result: "i32" },
  open: { parameters: ["buffer", /* const char *path */ "i32" /* int flags */], result: "i32" },
  close: { parameters: ["i32" /* int fd */], result: "i32" },
  mmap: {
    parameters: [
      "usize", // void *address
      "usize", // size_t length
      "i32", // int protection
      "i32", // int flags
      "i32", // int fd
      "i64", // off_t offset
    ],
    result: "usize",
  },
} as const satisfies Deno.ForeignLibraryInterface;

const CLOSE_ON_EXEC = 1;
const READ_WRITE = 3; // PROT_READ | PROT_WRITE
const SHARED_FIXED = 0x11; // MAP_SHARED | MAP_FIXED
const OPEN_READ_WRITE = 2;

/** Lengths of what is mapped must be multiples of this: the rest of a page would be lost too. */
const PAGE_BYTES = 4096;

/** Pages of another process, or of this one; plain numbers, to be sent to other processes. */
export interface SharedPages {
  readonly process: number;
  readonly file: number;
}

let opened: Deno.StaticForeignLibraryInterface<typeof symbols> | undefined;

function libc() {
  return opened ??= openLibc(symbols);
}

/** New pages of zeros. Throws Error where the system has none; LibraryError where this is no Linux with glibc. */
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
 * Puts shared pages in the place of the memory of `target`, which begins at a whole page of a WebAssembly memory or the
 * like: memory that is not moved and not freed. What was there is lost. Throws Error if the system refuses.
 */
export function mapSharedPages({ process, file }: SharedPages, target: Uint8Array): void {
  if (target.length % PAGE_BYTES !== 0) {
    throw new Error(`Cannot share memory: ${target.length} bytes are not whole pages`);
  }
  const { open, close, mmap } = libc();
  const own = process === Deno.pid;
  const from = own ? file : open(cString(`/proc/${process}/fd/${file}`), OPEN_READ_WRITE);
  if (from < 0) throw new Error(`Cannot share memory: process ${process} denies access to its memory`);
  const address = addressOf(target as Uint8Array<ArrayBuffer>);
  const mapped = mmap(address, BigInt(target.length), READ_WRITE, SHARED_FIXED, from, 0n);
  if (!own) close(from);
  if (BigInt(mapped) !== address) throw new Error(`Cannot share memory: mmap of ${target.length} bytes failed`);
}

/** Gives up a process's own handle of pages it created; they stay as long as someone maps them. */
export function closeSharedPages({ file }: SharedPages): void {
  libc().close(file);
}
