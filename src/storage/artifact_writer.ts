/** Writes artifacts: under a temporary name, with checksums computed on the way, then renamed. */
import { join } from "node:path";
import { existsSync } from "node:fs";
import {
  type ArtifactKind,
  bytesOf,
  headOf,
  isArtifact,
  isDirectory,
  MANIFEST,
  VERSIONS,
  withChecksum,
  type Words,
} from "./artifact.ts";
import { AtomicDirectory } from "./atomic_directory.ts";
import { crc32Of } from "./crc32.ts";
import type { FileEntry } from "./file_entry.ts";
import { type CreateFile, type OutputFile, writeAll } from "./output_file.ts";
import { breaks } from "../breaks.ts";
import { attempt, HotsetError } from "../errors.ts";
import { linkOrCopy } from "./links.ts";

/** Elements of a long array that are appended at a time. */
const PART_ELEMENTS = 1 << 20;

/** A file of an artifact that is being written: bytes are appended and the checksum is updated. */
export class ArtifactFile implements Disposable {
  readonly #file: OutputFile;
  readonly #path: string;
  bytes = 0;
  crc32 = 0;

  constructor(path: string, create: CreateFile = (path) => Deno.openSync(path, { write: true, createNew: true })) {
    this.#path = path;
    this.#file = attempt(`Cannot write ${path}`, () => create(path));
  }

  /** Appends the array's bytes. Throws HotsetError if writing fails. */
  append(array: Words): void {
    const bytes = bytesOf(array);
    attempt(`Cannot write ${this.#path}`, () => writeAll(this.#file, bytes));
    this.crc32 = crc32Of(bytes, this.crc32);
    this.bytes += bytes.length;
  }

  /** Appends a long array in parts, between which the event loop turns. Throws HotsetError if writing fails. */
  async appendInParts(array: Words): Promise<void> {
    for (let first = 0; first < array.length; first += PART_ELEMENTS) {
      this.append(array.subarray(first, first + PART_ELEMENTS));
      if (breaks.due) await breaks.take();
    }
  }

  /** Waits until all bytes are on disk. Throws HotsetError if writing fails. */
  sync(): void {
    attempt(`Cannot write ${this.#path}`, () => this.#file.syncDataSync());
  }

  [Symbol.dispose](): void {
    this.#file.close();
  }
}

/**
 * Writes an artifact. Until `commit` all files are in a directory with a temporary name; disposing an uncommitted
 * writer removes it.
 */
export class ArtifactWriter implements Disposable {
  readonly #kind: ArtifactKind;
  readonly #directory: AtomicDirectory;
  readonly #files = new Map<string, ArtifactFile>();
  readonly #create: CreateFile | undefined;
  /** Files that others have written. */
  readonly #adopted: Record<string, FileEntry> = {};

  /**
   * Begins an artifact that will replace an artifact of the same kind at `directory`. `create` opens its files;
   * undefined for ordinary files.
   */
  constructor(kind: ArtifactKind, directory: string, create?: CreateFile) {
    this.#kind = kind;
    this.#create = create;
    const begin = () => new AtomicDirectory(directory, (target) => expectRoom(target, kind));
    this.#directory = attempt(`Cannot write ${kind} ${directory}`, begin);
  }

  /** Directory of the files until the commit; for tools that write a file themselves (then call `adopt`). */
  path(name: string): string {
    return join(this.#directory.temporary, name);
  }

  /** The file of that name, created at the first call. */
  file(name: string): ArtifactFile {
    let file = this.#files.get(name);
    if (file === undefined) this.#files.set(name, file = new ArtifactFile(this.path(name), this.#create));
    return file;
  }

  /** Adds another name for a complete file on disk with a known length and checksum. */
  link(name: string, source: string, entry: FileEntry): void {
    attempt(`Cannot write ${this.path(name)}`, () => linkOrCopy(source, this.path(name)));
    this.#adopted[name] = entry;
  }

  /** Adds a complete file that another program or process has written to `path(name)`. */
  adopt(name: string, entry: FileEntry): void {
    this.#adopted[name] = entry;
  }

  /** Completes the artifact: writes the manifest and renames the directory. */
  commit(body: unknown): void {
    const files: Record<string, FileEntry> = { ...this.#adopted };
    for (const [name, file] of this.#files) files[name] = { bytes: file.bytes, crc32: file.crc32 };
    const manifest = withChecksum({ hotset: this.#kind, version: VERSIONS[this.#kind], files, body });
    const text = new TextEncoder().encode(JSON.stringify(manifest, null, 1) + "\n");
    this.file(MANIFEST).append(text);
    // What cannot be built again must be on disk before it replaces its predecessor.
    if (this.#kind === "checkpoint" || this.#create !== undefined) {
      for (const file of this.#files.values()) file.sync();
    }
    this.#rename();
  }

  /**
   * Completes the artifact as another name of the files of a complete artifact: hard links where possible, else copies.
   */
  commitLinks(source: string): void {
    attempt(`Cannot write ${this.#kind} ${this.#directory.target}`, () => {
      for (const { name } of Deno.readDirSync(source)) linkOrCopy(join(source, name), this.path(name));
    });
    this.#rename();
  }

  #rename(): void {
    attempt(`Cannot write ${this.#kind} ${this.#directory.target}`, () => {
      this.#closeFiles();
      this.#directory.commit();
    });
  }

  #closeFiles(): void {
    for (const file of this.#files.values()) file[Symbol.dispose]();
    this.#files.clear();
  }

  [Symbol.dispose](): void {
    this.#closeFiles();
    this.#directory[Symbol.dispose]();
  }
}

/**
 * Throws HotsetError if the path contains anything but an artifact of this kind (complete or damaged) or an empty
 * directory.
 */
function expectRoom(target: string, kind: ArtifactKind): void {
  if (!existsSync(target)) return;
  if (!isDirectory(target)) throw new HotsetError("a file has that name", { code: "occupied" });
  if (!isArtifact(target)) {
    if ([...Deno.readDirSync(target)].length === 0) return;
    throw new HotsetError("the directory contains something else", { code: "occupied" });
  }
  const other = headOf(target)?.hotset;
  if (other !== undefined && other !== kind) {
    throw new HotsetError(`it contains a ${other}; name another directory`, { code: "occupied" });
  }
}
