/** Files that are written sequentially. */

/** The part of a file's interface that writers need. */
export interface OutputFile {
  /** Appends some of the bytes and returns how many. */
  writeSync(bytes: Uint8Array): number;
  /** Writes buffered bytes and waits until everything is on disk. Nothing may be appended afterwards. */
  syncDataSync(): void;
  close(): void;
}

/** Opens a new file for writing. Implementations other than Deno's may buffer bytes until `sync`. */
export type CreateFile = (path: string) => OutputFile;

/** Appends all of the bytes, with several writes if needed. Throws the errors of the file. */
export function writeAll(file: Pick<OutputFile, "writeSync">, bytes: Uint8Array): void {
  for (let done = 0; done < bytes.length;) done += file.writeSync(done === 0 ? bytes : bytes.subarray(done));
}
