/**
 * Artifacts: directories that hold a manifest and flat little-endian arrays. They are written under a temporary name
 * and renamed when complete, so a reader meets a whole artifact or none; they are validated when opened.
 */
import { basename, dirname, join, resolve } from "node:path";
import { createHash } from "node:crypto";
import process from "node:process";
import { crc32 } from "node:zlib";
import { z } from "zod";
import { HotsetError, messageOf } from "./errors.ts";

const MANIFEST = "manifest.json";
/** End of the name of an artifact that is being replaced. */
const REPLACED = ".replaced";
const CHUNK_BYTES = 8 << 20;
/** The most bytes of a manifest: what holds more is none. */
const MOST_MANIFEST_BYTES = 64 << 20;
const DAMAGED = "is damaged (checksum does not match)";

/** The kinds of artifact, each with the version of its format that this Hotset writes and reads. */
const VERSIONS = { dataset: 2, profile: 3, layout: 3, checkpoint: 2 } as const;
/** What an artifact holds. */
export type ArtifactKind = keyof typeof VERSIONS;

/** Names an artifact of a cache by all that it is made from; one of another format has another name, and is made again. */
export function cacheName(kind: ArtifactKind, madeFrom: unknown): string {
  return fingerprint([VERSIONS[kind], madeFrom]);
}

const fileEntry = z.object({ bytes: z.number().int().nonnegative(), crc32: z.number().int().nonnegative() });
const envelope = z.object({
  hotset: z.enum(Object.keys(VERSIONS) as [ArtifactKind, ...ArtifactKind[]]),
  version: z.number().int(),
  files: z.record(z.string(), fileEntry),
  body: z.unknown(),
  /** Checksum of the manifest itself, but for this; absent in older formats. */
  crc32: z.number().int().nonnegative().optional(),
});

/** What is checked when an artifact is opened: every byte, or the lengths of its files. */
export type ArtifactCheck = "checksums" | "lengths";

/** An array that can be written to or read from a file as its little-endian bytes. */
export type Words = Uint8Array | Uint32Array | Float32Array | Float64Array;

/** A short name for any plain value: equal values, equal names. Used to find out whether inputs have changed. */
export function fingerprint(value: unknown): string {
  return createHash("sha256").update(JSON.stringify(value)).digest("hex").slice(0, 16);
}

function bytesOf(array: Words): Uint8Array {
  return new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
}

/** A file as a writer needs it. */
export interface OutputFile {
  /** Appends a part of the bytes and returns its length. */
  writeSync(bytes: Uint8Array): number;
  /** Waits until the disk has all of it. Nothing is appended after. */
  syncDataSync(): void;
  close(): void;
}

/** Opens a new file for writing. */
export type CreateFile = (path: string) => OutputFile;

/** A record with a checksum of itself, for a JSON file in which no figure can change unnoticed. */
export function seal<T extends object>(record: T): T & { crc32: number } {
  return { ...record, crc32: crc32(JSON.stringify(record)) };
}

/** True if a sealed record, as read from JSON, is as it was written. */
export function isIntact({ crc32: sum, ...record }: { readonly crc32?: unknown }): boolean {
  return sum === crc32(JSON.stringify(record));
}

/** One file of an artifact while it is written: appended to, its checksum taken on the way. */
export class ArtifactFile implements Disposable {
  readonly #file: OutputFile;
  readonly #path: string;
  bytes = 0;
  crc32 = 0;

  constructor(path: string, create: CreateFile = (path) => Deno.openSync(path, { write: true, createNew: true })) {
    this.#path = path;
    try {
      this.#file = create(path);
    } catch (error) {
      throw new HotsetError(`Cannot write ${path}: ${messageOf(error)}`, { cause: error });
    }
  }

  /** Appends the array's bytes. Throws HotsetError when the disk refuses them. */
  append(array: Words): void {
    const bytes = bytesOf(array);
    try {
      for (let done = 0; done < bytes.length;) done += this.#file.writeSync(bytes.subarray(done));
    } catch (error) {
      throw new HotsetError(`Cannot write ${this.#path}: ${messageOf(error)}`, { cause: error });
    }
    this.crc32 = crc32(bytes, this.crc32);
    this.bytes += bytes.length;
  }

  /** Waits until the disk has what was appended. Throws HotsetError when it refuses. */
  sync(): void {
    try {
      this.#file.syncDataSync();
    } catch (error) {
      throw new HotsetError(`Cannot write ${this.#path}: ${messageOf(error)}`, { cause: error });
    }
  }

  [Symbol.dispose](): void {
    this.#file.close();
  }
}

/**
 * Writes an artifact. Until `commit` everything lies in a directory with a temporary name; disposing an uncommitted
 * writer removes it.
 *
 * ```ts ignore
 * using writer = new ArtifactWriter("profile", "runs/profile");
 * writer.file("hot_rows.u32").append(rows);
 * writer.commit({ hotRows: rows.length });
 * ```
 */
export class ArtifactWriter implements Disposable {
  readonly #kind: ArtifactKind;
  readonly #target: string;
  readonly #temporary: string;
  readonly #files = new Map<string, ArtifactFile>();
  readonly #create: CreateFile | undefined;
  #open = true;

  /**
   * Begins an artifact that will replace whatever artifact of the same kind is at `directory`. `create` opens its files;
   * undefined for ordinary ones.
   */
  constructor(kind: ArtifactKind, directory: string, create?: CreateFile) {
    this.#kind = kind;
    this.#create = create;
    this.#target = resolve(directory);
    const parent = dirname(this.#target);
    try {
      Deno.mkdirSync(parent, { recursive: true });
      removeLeftovers(this.#target);
      if (isDirectory(this.#target) && !isArtifact(this.#target) && [...Deno.readDirSync(this.#target)].length > 0) {
        throw new HotsetError("a directory that holds something else is there");
      }
      this.#temporary = Deno.makeTempDirSync({ dir: parent, prefix: `${temporaryPrefix(this.#target)}${Deno.pid}-` });
      Deno.chmodSync(this.#temporary, 0o755);
    } catch (error) {
      throw new HotsetError(`Cannot write ${kind} ${directory}: ${messageOf(error)}`, { cause: error });
    }
  }

  /** Where the files lie until the commit; for tools that write a file themselves (then call `adopt`). */
  path(name: string): string {
    return join(this.#temporary, name);
  }

  /** The file of that name, created at the first call. */
  file(name: string): ArtifactFile {
    let file = this.#files.get(name);
    if (file === undefined) this.#files.set(name, file = new ArtifactFile(this.path(name), this.#create));
    return file;
  }

  /** Completes the artifact: takes in files written by others, writes the manifest and renames the directory. */
  commit(body: unknown, adopted: string[] = []): void {
    const files: Record<string, z.infer<typeof fileEntry>> = {};
    for (const [name, file] of this.#files) files[name] = { bytes: file.bytes, crc32: file.crc32 };
    for (const name of adopted) files[name] = measure(this.path(name));
    const manifest = seal({ hotset: this.#kind, version: VERSIONS[this.#kind], files, body });
    const text = new TextEncoder().encode(JSON.stringify(manifest, null, 1) + "\n");
    this.file(MANIFEST).append(text);
    // What cannot be made again must be on the disk before it takes the place of the one before it.
    if (this.#kind === "checkpoint") { for (const file of this.#files.values()) file.sync(); }
    this.#rename();
  }

  /** Completes the artifact as another name of the files of a whole one: linked where the file system can, else copied. */
  commitLinks(source: string): void {
    try {
      for (const { name } of Deno.readDirSync(source)) linkOrCopy(join(source, name), this.path(name));
    } catch (error) {
      throw new HotsetError(`Cannot write ${this.#kind} ${this.#target}: ${messageOf(error)}`, { cause: error });
    }
    this.#rename();
  }

  #rename(): void {
    try {
      this.#closeFiles();
      const replaced = this.#temporary + REPLACED;
      const exists = isDirectory(this.#target);
      if (exists) Deno.renameSync(this.#target, replaced);
      Deno.renameSync(this.#temporary, this.#target);
      this.#open = false;
      if (exists) Deno.removeSync(replaced, { recursive: true });
    } catch (error) {
      throw new HotsetError(`Cannot write ${this.#kind} ${this.#target}: ${messageOf(error)}`, { cause: error });
    }
  }

  #closeFiles(): void {
    for (const file of this.#files.values()) file[Symbol.dispose]();
    this.#files.clear();
  }

  [Symbol.dispose](): void {
    this.#closeFiles();
    if (this.#open) {
      this.#open = false;
      Deno.removeSync(this.#temporary, { recursive: true });
    }
  }
}

/** What to do about a damaged artifact. */
function wayOut(kind: ArtifactKind): string {
  return kind === "checkpoint" ? "use another one" : "remove the directory and make it again";
}

/** What a manifest says. */
export interface Manifest<T> {
  /** Names the content: equal manifests have equal ids. */
  readonly id: string;
  readonly files: Record<string, { bytes: number; crc32: number }>;
  readonly body: T;
}

/** Reads the manifest of an artifact. Throws HotsetError that says what is wrong with it. */
export function parseManifest<T>(
  kind: ArtifactKind,
  directory: string,
  text: string,
  schema: z.ZodType<T>,
): Manifest<T> {
  const fail = (reason: string): never => {
    throw new HotsetError(`Cannot open ${kind} ${directory}: ${reason}`);
  };
  const remake = wayOut(kind);
  let json: unknown;
  let id = "";
  try {
    json = JSON.parse(text);
  } catch {
    fail(`${MANIFEST} is not JSON; ${remake}`);
  }
  const parsed = envelope.safeParse(json);
  if (!parsed.success) return fail(`${MANIFEST} has ${firstIssue(parsed.error)}; ${remake}`);
  const { hotset, version, files, body } = parsed.data;
  if (hotset !== kind) fail(`it is a ${hotset}, not a ${kind}`);
  if (version !== VERSIONS[kind]) {
    fail(`its format is version ${version} and this Hotset reads version ${VERSIONS[kind]}; ${remake}`);
  }
  const outside = Object.keys(files).find((name) => basename(name) !== name || /^\.*$/.test(name));
  if (outside !== undefined) fail(`${MANIFEST} names the file ${JSON.stringify(outside)} outside the directory`);
  const checked = schema.safeParse(body);
  if (!checked.success) return fail(`${MANIFEST} has ${firstIssue(checked.error)}; ${remake}`);
  try {
    if (!isIntact(json as object)) fail(`${MANIFEST} ${DAMAGED}; ${remake}`);
    id = fingerprint([hotset, version, files, body]);
  } catch (error) {
    if (error instanceof HotsetError) throw error;
    fail(`${MANIFEST} is nested too deeply; ${remake}`);
  }
  return { id, files, body: checked.data };
}

/** A complete, validated artifact on disk. */
export class Artifact<T> {
  readonly directory: string;
  readonly body: T;
  /** Names the content: equal artifacts have equal ids. */
  readonly id: string;
  readonly #kind: ArtifactKind;
  readonly #files: Manifest<T>["files"];

  private constructor(kind: ArtifactKind, directory: string, { id, files, body }: Manifest<T>) {
    this.#kind = kind;
    this.directory = directory;
    this.id = id;
    this.body = body;
    this.#files = files;
  }

  /**
   * Opens the artifact in a directory and checks its kind, version and file lengths, and the checksums of all files; with
   * `check` "lengths" only those of files that are read from the beginning to the end, when they are.
   * Throws HotsetError that says which file is wrong and what to do.
   */
  static open<T>(
    kind: ArtifactKind,
    directory: string,
    schema: z.ZodType<T>,
    check: ArtifactCheck = "checksums",
  ): Artifact<T> {
    const fail = (reason: string): never => {
      throw new HotsetError(`Cannot open ${kind} ${directory}: ${reason}`);
    };
    const remake = wayOut(kind);
    let text = "";
    try {
      const { size } = Deno.statSync(join(directory, MANIFEST));
      if (size > MOST_MANIFEST_BYTES) fail(`${MANIFEST} has ${size} bytes; ${remake}`);
      text = Deno.readTextFileSync(join(directory, MANIFEST));
    } catch (error) {
      if (error instanceof HotsetError) throw error;
      if (error instanceof Deno.errors.NotADirectory) fail("it is a file, not a directory");
      if (!(error instanceof Deno.errors.NotFound)) fail(messageOf(error));
      fail(isDirectory(directory) ? `there is no ${MANIFEST} in it` : "no such directory");
    }
    const manifest = parseManifest(kind, directory, text, schema);
    for (const [name, entry] of Object.entries(manifest.files)) {
      let measured = entry;
      try {
        const { size, isFile } = Deno.statSync(join(directory, name));
        if (!isFile) fail(`${name} is not a file; ${remake}`); // a pipe would be waited for
        if (size !== entry.bytes) fail(`${name} has ${size} bytes instead of ${entry.bytes}; ${remake}`);
        if (check === "checksums") measured = measure(join(directory, name));
      } catch (error) {
        if (error instanceof HotsetError) throw error;
        fail(error instanceof Deno.errors.NotFound ? `${name} is missing; ${remake}` : `${name}: ${messageOf(error)}`);
      }
      if (measured.crc32 !== entry.crc32) fail(`${name} ${DAMAGED}; ${remake}`);
    }
    return new Artifact(kind, directory, manifest);
  }

  /** True if the artifact has a file of that name. */
  has(name: string): boolean {
    return Object.hasOwn(this.#files, name);
  }

  /** Path of one of the artifact's files. */
  path(name: string): string {
    if (!this.has(name)) {
      throw new HotsetError(`Cannot read ${join(this.directory, name)}: the manifest does not list it`);
    }
    return join(this.directory, name);
  }

  /** Length of one of the artifact's files, as recorded and checked. */
  bytes(name: string): number {
    this.path(name);
    return this.#files[name].bytes;
  }

  /** Fails unless the file has exactly this many bytes: its content must fit the manifest's own numbers. */
  expectBytes(name: string, bytes: number): void {
    if (this.bytes(name) !== bytes) {
      throw new HotsetError(
        `Cannot open ${this.directory}: ${name} has ${this.bytes(name)} bytes where its manifest implies ${bytes}`,
      );
    }
  }

  /** Opens a file for reading at any position. Read in order, it is checked at its end. */
  open(name: string): FileReader {
    return new FileReader(this.path(name), { ...this.#files[name], wayOut: wayOut(this.#kind) });
  }

  /** Reads a whole file into the array, which must have its length, and checks it. */
  readInto<A extends Words>(name: string, target: A): A {
    this.expectBytes(name, target.byteLength);
    using reader = this.open(name);
    reader.read(0, bytesOf(target));
    return target;
  }
}

/** What a file must be, and what to do if it is not. */
interface ExpectedFile {
  readonly bytes: number;
  readonly crc32: number;
  readonly wayOut: string;
}

/** Reads byte ranges of a file without allocating. */
export class FileReader implements Disposable {
  readonly #file: Deno.FsFile;
  readonly #path: string;
  readonly #expected: ExpectedFile | undefined;
  /** Checksum of what was read in order from the beginning, and where that ends. */
  #crc32 = 0;
  #end = 0;

  /** With `expected`, a file that is read in order is checked against it at its end. */
  constructor(path: string, expected?: ExpectedFile) {
    this.#path = path;
    this.#expected = expected;
    this.#file = Deno.openSync(path);
  }

  /** Fills `target` from byte `position` on. Throws HotsetError if the file ends before, or if it is damaged. */
  read(position: number, target: Uint8Array): void {
    this.#file.seekSync(position, Deno.SeekMode.Start);
    for (let done = 0; done < target.length;) {
      const count = this.#file.readSync(done === 0 ? target : target.subarray(done));
      if (count === null) {
        throw new HotsetError(`Cannot read ${this.#path}: it ends before byte ${position + target.length}`);
      }
      done += count;
    }
    if (this.#expected === undefined || position !== this.#end) return;
    this.#crc32 = crc32(target, this.#crc32);
    this.#end += target.length;
    if (this.#end === this.#expected.bytes && this.#crc32 !== this.#expected.crc32) {
      throw new HotsetError(
        `Cannot read ${dirname(this.#path)}: ${basename(this.#path)} ${DAMAGED}; ${this.#expected.wayOut}`,
      );
    }
  }

  [Symbol.dispose](): void {
    this.#file.close();
  }
}

/** True if the directory holds an artifact's manifest (which need not be valid). */
export function isArtifact(directory: string): boolean {
  try {
    return Deno.statSync(join(directory, MANIFEST)).isFile;
  } catch {
    return false;
  }
}

function isDirectory(path: string): boolean {
  try {
    return Deno.statSync(path).isDirectory;
  } catch {
    return false;
  }
}

function linkOrCopy(source: string, target: string): void {
  try {
    Deno.linkSync(source, target);
  } catch {
    Deno.copyFileSync(source, target);
  }
}

function temporaryPrefix(target: string): string {
  return `.${basename(target)}.partial-`;
}

/** Removes what killed writers of an artifact left behind, but for the old artifact where there is no new one. */
export function removeLeftovers(directory: string): void {
  const target = resolve(directory);
  const prefix = temporaryPrefix(target);
  for (const { name } of Deno.readDirSync(dirname(target))) {
    if (!name.startsWith(prefix) || isRunning(parseInt(name.slice(prefix.length)))) continue;
    const leftover = join(dirname(target), name);
    // Killed between its two renames, a writer has moved the old artifact away and not yet put the new one there.
    if (name.endsWith(REPLACED) && !isDirectory(target)) Deno.renameSync(leftover, target);
    else Deno.removeSync(leftover, { recursive: true });
  }
}

function isRunning(pid: number): boolean {
  // In containers, processes have the same few numbers: this one begins its work and has left nothing yet.
  if (pid === Deno.pid) return false;
  try {
    return process.kill(pid, 0);
  } catch (error) {
    return (error as { code?: string }).code === "EPERM";
  }
}

function measure(path: string): { bytes: number; crc32: number } {
  using file = Deno.openSync(path);
  const chunk = new Uint8Array(Math.min(CHUNK_BYTES, file.statSync().size + 1));
  const total = { bytes: 0, crc32: 0 };
  for (let count = file.readSync(chunk); count !== null; count = file.readSync(chunk)) {
    total.crc32 = crc32(chunk.subarray(0, count), total.crc32);
    total.bytes += count;
  }
  return total;
}

/** The first complaint of a schema, as words. */
export function firstIssue(error: z.ZodError): string {
  const issue = error.issues[0];
  return `${issue.path.length > 0 ? issue.path.join(".") : "a value"}: ${issue.message}`;
}
