/** Files that are written from their beginning to their end. */

/** A file as its writers need it. */
export interface OutputFile {
  /** Appends a part of the bytes and returns its length. */
  writeSync(bytes: Uint8Array): number;
  /** Writes what it holds back, if anything, and waits until the disk has all of it. Nothing is appended after. */
  syncDataSync(): void;
  close(): void;
}

/** Opens a new file for writing. Another one than Deno's may hold back bytes until it is synced. */
export type CreateFile = (path: string) => OutputFile;

/** Appends all of the bytes: a call may write a part of them. Throws what the file throws. */
export function writeAll(file: Pick<OutputFile, "writeSync">, bytes: Uint8Array): void {
  for (let done = 0; done < bytes.length;) done += file.writeSync(done === 0 ? bytes : bytes.subarray(done));
}
