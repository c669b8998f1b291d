/**
 * The files of a log of rows. A segment is a file that grows by pages until it is sealed, and never changes afterwards.
 * Checkpoints, and runs that begin with them, therefore share it through a hard link instead of a copy.
 */
import { closeSync, constants, fdatasyncSync, openSync, rmSync } from "node:fs";
import { join } from "node:path";
import { attempt } from "../../errors.ts";
import { linkOrCopy } from "../../storage/links.ts";
import type { RowNumbers } from "./row_numbers.ts";

/** A sealed segment in the manifest of a checkpoint. */
export interface LogSegmentEntry {
  /**
   * Segments are in the order of the log: of two records of a row the one in the segment with the higher number is the
   * latest.
   */
  readonly number: number;
  readonly bytes: number;
  readonly crc32: number;
}

/** Segments of a checkpoint. */
export interface SavedRows {
  readonly directory: string;
  /** Seed of the initial values of rows that are in no segment, if there are no `numbers`. */
  readonly seed: number;
  /** If tables have grown: the numbers of rows in pages, with the seeds of initial values. */
  readonly numbers?: RowNumbers | undefined;
  /** In the order of the log. */
  readonly segments: readonly LogSegmentEntry[];
}

/** An open segment. */
export interface LogSegment {
  readonly fd: number;
  readonly number: number;
  readonly path: string;
  /** True if this name of the file belongs to the log, which removes it with the segment. */
  readonly own: boolean;
  /** Number of its pages, on disk or in buffers. */
  pages: number;
  /** Number of rows whose latest record is in it. */
  alive: number;
  /** Checksum of its written pages. */
  crc32: number;
  /** True if all of it is known to be on disk. */
  synced: boolean;
}

const ERRORS: Readonly<Record<number, string>> = {
  5: "the disk reports an error",
  28: "the disk is full",
  122: "the quota of the disk is used up",
};

/** Describes the failure of a transfer that ended with this result instead of all bytes. */
export function transferFault(result: number, writing: boolean): string {
  if (result >= 0) return writing ? "the disk is full" : "the file ends early";
  return ERRORS[-result] ?? `error ${-result}`;
}

export function segmentFile(number: number): string {
  return `rows-${number}.log`;
}

/** Creates a segment's file in a directory. Throws HotsetError. */
export function createSegment(directory: string, number: number): LogSegment {
  const path = join(directory, segmentFile(number));
  return attempt(`Cannot write rows to ${directory}`, () => {
    const fd = openDirect(path, constants.O_RDWR | constants.O_CREAT | constants.O_EXCL);
    return { fd, number, path, own: true, pages: 0, alive: 0, crc32: 0, synced: false };
  });
}

/** Opens a sealed segment in its place, or under a new name in `directory`. Throws HotsetError. */
export function openSegment(
  { directory: from }: SavedRows,
  { number, bytes, crc32 }: LogSegmentEntry,
  pageBytes: number,
  directory: string | undefined,
): LogSegment {
  const source = join(from, segmentFile(number));
  const own = directory !== undefined;
  const path = own ? join(directory, segmentFile(number)) : source;
  return attempt(`Cannot read rows from ${source}`, () => {
    if (own) linkOrCopy(source, path);
    const fd = openDirect(path, constants.O_RDONLY);
    return { fd, number, path, own, pages: bytes / pageBytes, alive: 0, crc32, synced: true };
  });
}

/** True if files of a directory support direct I/O. Throws HotsetError if none can be created. */
export function hasDirect(directory: string): boolean {
  const path = join(directory, segmentFile(0));
  return attempt(`Cannot write rows to ${directory}`, () => {
    closeSync(openSync(path, constants.O_RDWR | constants.O_CREAT, 0o600));
    try {
      closeSync(openSync(path, constants.O_RDONLY | constants.O_DIRECT));
      return true;
    } catch {
      return false;
    } finally {
      Deno.removeSync(path);
    }
  });
}

/** Opens a file for direct I/O if its file system supports it, else through the page cache. */
function openDirect(path: string, flags: number): number {
  try {
    return openSync(path, flags | (constants.O_DIRECT ?? 0), 0o644);
  } catch (error) {
    if ((error as { code?: string }).code !== "EINVAL") throw error; // the file system does not support direct I/O
    if (flags & constants.O_CREAT) rmSync(path, { force: true });
    return openSync(path, flags, 0o644);
  }
}

/** Waits until all of a segment is on disk. Throws HotsetError. */
export function syncSegment(segment: LogSegment): void {
  if (segment.synced) return;
  attempt(`Cannot write rows to ${segment.path}`, () => fdatasyncSync(segment.fd));
  segment.synced = true;
}

/** Closes a segment and removes its name; a checkpoint's link to it remains. */
export function removeSegment({ fd, path, own }: LogSegment): void {
  closeSync(fd);
  if (own) rmSync(path, { force: true });
}
