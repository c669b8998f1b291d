/**
 * Artifacts: directories with a manifest and flat little-endian arrays. They are written under a temporary name and
 * renamed when complete (artifact_writer.ts), so that readers never see a partial one. They are validated when opened.
 */
import { basename, dirname, join } from "node:path";
import { createHash } from "node:crypto";
import { crc32 } from "node:zlib";
import { z } from "zod";
import { crc32Of } from "./crc32.ts";
import { type FileEntry, fileEntry, measure, measureInParts } from "./file_entry.ts";
import { cannot, HotsetError, messageOf } from "../errors.ts";

/** Name of the manifest's file. */
export const MANIFEST = "manifest.json";
/** Maximum size of a manifest in bytes. */
const MAX_MANIFEST_BYTES = 64 << 20;
const DAMAGED = "is damaged (checksum does not match)";

/** The kinds of artifact, each with the version of its format that this Hotset writes. */
export const VERSIONS = { dataset: 2, profile: 3, layout: 5, checkpoint: 2, encoding: 1 } as const;
export type ArtifactKind = keyof typeof VERSIONS;
/**
 * The oldest version of each kind that can be read. Models, and the data whose dictionary they need, can be read as
 * version 0.1 wrote them (the schema has defaults for what a manifest did not contain); profiles and layouts are caches
 * and are built again.
 */
const OLDEST: Readonly<Record<ArtifactKind, number>> = { ...VERSIONS, dataset: 2, checkpoint: 2 };

/**
 * The name of an artifact in a cache, derived from everything that it is built from and from the version of its format.
 */
export function cacheName(kind: ArtifactKind, madeFrom: unknown): string {
  return fingerprint([VERSIONS[kind], madeFrom]);
}

const envelope = z.object({
  hotset: z.enum(Object.keys(VERSIONS) as [ArtifactKind, ...ArtifactKind[]]),
  version: z.number().int(),
  files: z.record(z.string(), fileEntry),
  body: z.unknown(),
  /** Checksum of the manifest without this field; absent in older formats. */
  crc32: z.number().int().nonnegative().optional(),
});

/** What is checked when an artifact is opened: every byte, which are all read at once, or the lengths of its files. */
export type ArtifactCheck = "checksums" | "lengths";

/** An array that can be written to or read from a file as its little-endian bytes. */
export type Words = Uint8Array | Uint32Array | Float32Array | Float64Array;

/** A short hash of any plain value: equal values have equal hashes. Used to detect changed inputs. */
export function fingerprint(value: unknown): string {
  return createHash("sha256").update(JSON.stringify(value)).digest("hex").slice(0, 16);
}

export function bytesOf(array: Words): Uint8Array {
  if (array instanceof Uint8Array) return array; // a step that reads a batch makes no other view
  return new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
}

/** Adds the record's own CRC-32, so that a change of the JSON file is noticed. */
export function withChecksum<T extends object>(record: T): T & { crc32: number } {
  return { ...record, crc32: crc32(JSON.stringify(record)) };
}

/** True if a record that was read from JSON has the checksum that `withChecksum` gave it. */
export function isIntact({ crc32: sum, ...record }: { readonly crc32?: unknown }): boolean {
  return sum === crc32(JSON.stringify(record));
}

/** What to do about a damaged artifact. */
function remedy(kind: ArtifactKind): string {
  if (kind === "encoding") return "copy the run again";
  return kind === "checkpoint" ? "use another one" : "remove the directory and build it again";
}

/** The content of a manifest. */
export interface Manifest<T> {
  /** Identifies the content: equal manifests have equal ids. */
  readonly id: string;
  readonly files: Record<string, FileEntry>;
  readonly body: T;
}

/** Reads the manifest of an artifact. Throws HotsetError with what is wrong. */
export function parseManifest<T>(
  kind: ArtifactKind,
  directory: string,
  text: string,
  schema: z.ZodType<T>,
): Manifest<T> {
  const fail = cannot(`open ${kind} ${directory}`, "damaged");
  const remake = remedy(kind);
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
  if (hotset !== kind) fail(`it is a ${hotset}, not a ${kind}`, "failed");
  if (version > VERSIONS[kind]) {
    fail(
      `its format is version ${version} and this Hotset reads up to version ${VERSIONS[kind]}; use a newer Hotset`,
      "failed",
    );
  }
  if (version < OLDEST[kind]) {
    fail(`its format is version ${version} and this Hotset reads from version ${OLDEST[kind]} on; ${remake}`, "failed");
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
  /** Identifies the content: equal artifacts have equal ids. */
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
   * Opens the artifact in a directory. Checks its kind, version, the lengths of its files and their checksums; with
   * `check` "lengths" a checksum is checked only when its file is read from beginning to end. Throws HotsetError with
   * the file that is wrong and what to do.
   */
  static open<T>(
    kind: ArtifactKind,
    directory: string,
    schema: z.ZodType<T>,
    check: ArtifactCheck = "checksums",
  ): Artifact<T> {
    const fail = cannot(`open ${kind} ${directory}`, "damaged");
    const remake = remedy(kind);
    let text = "";
    try {
      const { size } = Deno.statSync(join(directory, MANIFEST));
      if (size > MAX_MANIFEST_BYTES) fail(`${MANIFEST} has ${size} bytes; ${remake}`);
      text = Deno.readTextFileSync(join(directory, MANIFEST));
    } catch (error) {
      if (error instanceof HotsetError) throw error;
      if (error instanceof Deno.errors.NotADirectory) fail("it is a file, not a directory", "failed");
      if (!(error instanceof Deno.errors.NotFound)) fail(messageOf(error), "failed");
      fail(isDirectory(directory) ? `it contains no ${MANIFEST}` : "no such directory", "not-found");
    }
    const manifest = parseManifest(kind, directory, text, schema);
    for (const [name, { bytes, crc32 }] of Object.entries(manifest.files)) {
      try {
        const { size, isFile } = Deno.statSync(join(directory, name));
        if (!isFile) fail(`${name} is not a file; ${remake}`); // reading a pipe would block
        if (size !== bytes) fail(`${name} has ${size} bytes instead of ${bytes}; ${remake}`);
        if (check === "lengths" || measure(join(directory, name)).crc32 === crc32) continue;
      } catch (error) {
        if (error instanceof HotsetError) throw error;
        fail(unreadable(name, error, remake));
      }
      fail(`${name} ${DAMAGED}; ${remake}`);
    }
    return new Artifact(kind, directory, manifest);
  }

  /**
   * Checks the checksums of all files, in parts between which the event loop turns: for an artifact that was opened with
   * "lengths". Throws like `open`.
   */
  async verify(): Promise<void> {
    const fail = cannot(`open ${this.#kind} ${this.directory}`, "damaged");
    const remake = remedy(this.#kind);
    for (const [name, { crc32 }] of Object.entries(this.#files)) {
      const measured = await measureInParts(this.path(name)).catch((error) => fail(unreadable(name, error, remake)));
      if (measured.crc32 !== crc32) fail(`${name} ${DAMAGED}; ${remake}`);
    }
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

  /** Checksum of one of the artifact's files, as recorded. */
  crc32(name: string): number {
    this.path(name);
    return this.#files[name].crc32;
  }

  /**
   * Throws HotsetError unless the file has exactly this number of bytes, which follows from other numbers of the
   * manifest.
   */
  expectBytes(name: string, bytes: number): void {
    if (this.bytes(name) === bytes) return;
    this.#fail(`${name} has ${this.bytes(name)} bytes, but its manifest implies ${bytes}`);
  }

  /** Throws HotsetError unless the length of the file is a multiple of the page size. */
  expectMultiple(name: string, pageBytes: number): void {
    if (this.bytes(name) % pageBytes === 0) return;
    this.#fail(`${name} has ${this.bytes(name)} bytes, which are no pages of ${pageBytes}`);
  }

  #fail(reason: string): never {
    return cannot(`open ${this.directory}`, "damaged")(reason);
  }

  /** Throws HotsetError if its directory has gone or has another artifact since it was opened. */
  expectInPlace(): void {
    let id: string | undefined;
    try {
      const text = Deno.readTextFileSync(join(this.directory, MANIFEST));
      id = parseManifest(this.#kind, this.directory, text, z.unknown()).id;
    } catch (error) {
      if (!(error instanceof HotsetError || error instanceof Deno.errors.NotFound)) throw error;
    }
    if (id === this.id) return;
    throw new HotsetError(`Cannot read ${this.directory}: another ${this.#kind} has taken its place`);
  }

  /** Opens a file for reading at any position. If it is read in order, its checksum is checked at its end. */
  open(name: string): FileReader {
    return new FileReader(this.path(name), { ...this.#files[name], remedy: remedy(this.#kind) });
  }

  /** Reads a whole file into the array, which must have its length, and checks the checksum. */
  readInto<A extends Words>(name: string, target: A): A {
    this.expectBytes(name, target.byteLength);
    using reader = this.open(name);
    reader.read(0, target);
    return target;
  }
}

/** The expected length and checksum of a file, and the advice if they do not match. */
interface ExpectedFile {
  readonly bytes: number;
  readonly crc32: number;
  readonly remedy: string;
}

/** Reads byte ranges of a file without allocating. */
export class FileReader implements Disposable {
  readonly #file: Deno.FsFile;
  readonly #path: string;
  readonly #expected: ExpectedFile | undefined;
  /** Checksum of the bytes read in order from the beginning, and their number. */
  #crc32 = 0;
  #end = 0;

  /** With `expected`, the checksum of a file that is read in order is checked at its end. */
  constructor(path: string, expected?: ExpectedFile) {
    this.#path = path;
    this.#expected = expected;
    this.#file = Deno.openSync(path);
  }

  /** Fills `words` from byte `position` on. Throws HotsetError if the file is too short or damaged. */
  read(position: number, words: Words): void {
    const target = bytesOf(words);
    this.#file.seekSync(position, Deno.SeekMode.Start);
    for (let done = 0; done < target.length;) {
      const count = this.#file.readSync(done === 0 ? target : target.subarray(done));
      if (count === null) damaged(this.#path, `it ends before byte ${position + target.length}`);
      done += count;
    }
    if (this.#expected === undefined || position !== this.#end) return;
    this.#crc32 = crc32Of(target, this.#crc32);
    this.#end += target.length;
    if (this.#end === this.#expected.bytes && this.#crc32 !== this.#expected.crc32) {
      damaged(dirname(this.#path), `${basename(this.#path)} ${DAMAGED}; ${this.#expected.remedy}`);
    }
  }

  [Symbol.dispose](): void {
    this.#file.close();
  }
}

function damaged(path: string, reason: string): never {
  return cannot(`read ${path}`, "damaged")(reason);
}

/** The files of an artifact that has been validated, its manifest among them, with lengths and checksums. */
export function filesOf(directory: string): Map<string, FileEntry> {
  const path = join(directory, MANIFEST);
  const { files } = envelope.parse(JSON.parse(Deno.readTextFileSync(path)));
  return new Map([[MANIFEST, measure(path)], ...Object.entries(files)]);
}

/** True if the directory holds an artifact's manifest (which need not be valid). */
export function isArtifact(directory: string): boolean {
  try {
    return Deno.statSync(join(directory, MANIFEST)).isFile;
  } catch {
    return false;
  }
}

/** True if a cache has this artifact. One with another version of the format counts as absent and is replaced. */
export function isCached(kind: ArtifactKind, directory: string): boolean {
  if (!isArtifact(directory)) return false;
  const version = headOf(directory)?.version;
  return version === undefined || version === VERSIONS[kind]; // opening a damaged one reports that
}

/** What a manifest that need not be valid says of itself; undefined if it cannot be read. */
export function headOf(directory: string): { readonly hotset?: string; readonly version?: number } | undefined {
  try {
    return JSON.parse(Deno.readTextFileSync(join(directory, MANIFEST)));
  } catch {
    return undefined;
  }
}

export function isDirectory(path: string): boolean {
  try {
    return Deno.statSync(path).isDirectory;
  } catch {
    return false;
  }
}

/** Why a file of an artifact cannot be read. */
function unreadable(name: string, error: unknown, remake: string): string {
  return error instanceof Deno.errors.NotFound ? `${name} is missing; ${remake}` : `${name}: ${messageOf(error)}`;
}

/** The first issue of a schema as text. */
export function firstIssue(error: z.ZodError): string {
  const issue = error.issues[0];
  return `${issue.path.length > 0 ? issue.path.join(".") : "a value"}: ${issue.message}`;
}
