/**
 * Artifacts: directories that hold a manifest and flat little-endian arrays. They are written under a temporary name
 * and renamed when complete (artifact_writer.ts), so a reader meets a whole artifact or none; they are validated when
 * opened.
 */
import { basename, dirname, join } from "node:path";
import { createHash } from "node:crypto";
import { crc32 } from "node:zlib";
import { z } from "zod";
import { crc32Of } from "./crc32.ts";
import { type ErrorCode, HotsetError, messageOf } from "../errors.ts";

/** Name of the file that tells what an artifact is. */
export const MANIFEST = "manifest.json";
const CHUNK_BYTES = 8 << 20;
/** The most bytes of a manifest: what holds more is none. */
const MAX_MANIFEST_BYTES = 64 << 20;
const DAMAGED = "is damaged (checksum does not match)";

/** The kinds of artifact, each with the version of its format that this Hotset writes. */
export const VERSIONS = { dataset: 2, profile: 3, layout: 4, checkpoint: 2 } as const;
/** What an artifact holds. */
export type ArtifactKind = keyof typeof VERSIONS;
/**
 * The oldest version of each that it reads. Models and the data whose dictionary they need are read as version 0.1 left them
 * (what a manifest did not say then has a default in its schema); profiles and layouts are caches, and are made anew.
 */
const OLDEST: Readonly<Record<ArtifactKind, number>> = { ...VERSIONS, dataset: 2, checkpoint: 2 };

/** Names an artifact of a cache by all that it is made from; one of another format has another name, and is made again. */
export function cacheName(kind: ArtifactKind, madeFrom: unknown): string {
  return fingerprint([VERSIONS[kind], madeFrom]);
}

/** What a manifest says of a file. */
export const fileEntry = z.object({ bytes: z.number().int().nonnegative(), crc32: z.number().int().nonnegative() });
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

/** The bytes of an array. */
export function bytesOf(array: Words): Uint8Array {
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
  return kind === "checkpoint" ? "use another one" : "remove the directory and build it again";
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
  const fail = (reason: string, code: ErrorCode = "damaged"): never => {
    throw new HotsetError(`Cannot open ${kind} ${directory}: ${reason}`, { code });
  };
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
    const fail = (reason: string, code: ErrorCode = "damaged"): never => {
      throw new HotsetError(`Cannot open ${kind} ${directory}: ${reason}`, { code });
    };
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

  /** Checksum of one of the artifact's files, as recorded. */
  crc32(name: string): number {
    this.path(name);
    return this.#files[name].crc32;
  }

  /** Fails unless the file has exactly this many bytes: its content must fit the manifest's own numbers. */
  expectBytes(name: string, bytes: number): void {
    if (this.bytes(name) !== bytes) {
      throw new HotsetError(
        `Cannot open ${this.directory}: ${name} has ${this.bytes(name)} bytes, but its manifest implies ${bytes}`,
        { code: "damaged" },
      );
    }
  }

  /** Fails unless the file consists of whole pages of so many bytes. */
  expectMultiple(name: string, pageBytes: number): void {
    if (this.bytes(name) % pageBytes === 0) return;
    throw new HotsetError(
      `Cannot open ${this.directory}: ${name} has ${this.bytes(name)} bytes, which are no pages of ${pageBytes}`,
      { code: "damaged" },
    );
  }

  /** Opens a file for reading at any position. Read in order, it is checked at its end. */
  open(name: string): FileReader {
    return new FileReader(this.path(name), { ...this.#files[name], remedy: remedy(this.#kind) });
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
  readonly remedy: string;
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
        throw new HotsetError(`Cannot read ${this.#path}: it ends before byte ${position + target.length}`, {
          code: "damaged",
        });
      }
      done += count;
    }
    if (this.#expected === undefined || position !== this.#end) return;
    this.#crc32 = crc32Of(target, this.#crc32);
    this.#end += target.length;
    if (this.#end === this.#expected.bytes && this.#crc32 !== this.#expected.crc32) {
      throw new HotsetError(
        `Cannot read ${dirname(this.#path)}: ${basename(this.#path)} ${DAMAGED}; ${this.#expected.remedy}`,
        { code: "damaged" },
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

/** True if a cache has an artifact there. One of another version is passed over: it is made anew in its place. */
export function isCached(kind: ArtifactKind, directory: string): boolean {
  if (!isArtifact(directory)) return false;
  try {
    const { version } = JSON.parse(Deno.readTextFileSync(join(directory, MANIFEST)));
    return version === undefined || version === VERSIONS[kind];
  } catch {
    return true; // damaged, as opening it says
  }
}

/** True if a directory is there. */
export function isDirectory(path: string): boolean {
  try {
    return Deno.statSync(path).isDirectory;
  } catch {
    return false;
  }
}

/** Length and checksum of a file. */
export function measure(path: string): { bytes: number; crc32: number } {
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
