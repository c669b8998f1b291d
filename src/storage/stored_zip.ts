/**
 * Files packed into one: a ZIP64 archive of uncompressed entries with checksums, as `unzip` reads it. It is written from
 * beginning to end. Only what this file writes is read: every header is computed from names, lengths and checksums, and
 * must be equal to the bytes of the archive.
 */
import { breaks } from "../breaks.ts";
import { attempt, cannot, HotsetError } from "../errors.ts";
import { FileReader } from "./artifact.ts";
import { ArtifactFile } from "./artifact_writer.ts";
import { AtomicFile } from "./atomic_file.ts";
import { crc32Of } from "./crc32.ts";

/** A file of an archive. */
export interface ZipEntry {
  readonly name: string;
  readonly bytes: number;
  readonly crc32: number;
}

/** Bytes copied at a time, which takes a few milliseconds. */
const CHUNK_BYTES = 4 << 20;
/** Maximum size of the list of entries: it is read at once. */
const MAX_DIRECTORY_BYTES = 16 << 20;
const CENTRAL_HEADER_BYTES = 46;
/** The end of an archive: the record of ZIP64, its locator, and the record of older readers. */
const END_BYTES = 56 + 20 + 22;
/** Version 4.5 of the format has ZIP64. */
const VERSION = 45;
/** Names are UTF-8. */
const FLAGS = 0x0800;
/** The first of January 1980, so that equal files give equal archives. */
const DATE = 0x21;
/** Unix, and the permissions of an ordinary file. */
const MADE_ON_UNIX = 3 << 8;
const ATTRIBUTES = 0o100644 * 2 ** 16;
/** The value of a field that has moved to the fields of ZIP64. */
const MOVED = 0xffff_ffff;

/** A value of a header: a number of 2 or 4 bytes, a bigint of 8 bytes, or text. */
type Field = readonly [bytes: 2 | 4, value: number] | bigint | Uint8Array;

function record(...fields: readonly Field[]): Uint8Array<ArrayBuffer> {
  const lengthOf = (field: Field) =>
    typeof field === "bigint" ? 8 : field instanceof Uint8Array ? field.length : field[0];
  const bytes = new Uint8Array(fields.reduce((sum, field) => sum + lengthOf(field), 0));
  const view = new DataView(bytes.buffer);
  let at = 0;
  for (const field of fields) {
    if (typeof field === "bigint") view.setBigUint64(at, field, true);
    else if (field instanceof Uint8Array) bytes.set(field, at);
    else if (field[0] === 2) view.setUint16(at, field[1], true);
    else view.setUint32(at, field[1], true);
    at += lengthOf(field);
  }
  return bytes;
}

/** Fields that both headers of an entry contain: how it is stored, and its lengths. */
function storedAs({ crc32 }: ZipEntry): Field[] {
  return [[2, VERSION], [2, FLAGS], [2, 0], [2, 0], [2, DATE], [4, crc32], [4, MOVED], [4, MOVED]];
}

function localHeader(entry: ZipEntry): Uint8Array<ArrayBuffer> {
  const name = new TextEncoder().encode(entry.name);
  const bytes = BigInt(entry.bytes);
  const lengths: Field[] = [[2, 1], [2, 16], bytes, bytes];
  return record([4, 0x04034b50], ...storedAs(entry), [2, name.length], [2, 20], name, ...lengths);
}

function centralHeader(entry: ZipEntry, at: number): Uint8Array<ArrayBuffer> {
  const name = new TextEncoder().encode(entry.name);
  const bytes = BigInt(entry.bytes);
  const place: Field[] = [[2, 0], [2, 0], [2, 0], [4, ATTRIBUTES], [4, MOVED]];
  const lengths: Field[] = [[2, 1], [2, 24], bytes, bytes, BigInt(at)];
  return record(
    ...[[4, 0x02014b50], [2, MADE_ON_UNIX + VERSION]] as const,
    ...[...storedAs(entry), [2, name.length], [2, 28]] as const,
    ...[...place, name, ...lengths],
  );
}

function endOf(entries: number, at: number, bytes: number): Uint8Array<ArrayBuffer> {
  const [count, size] = [BigInt(entries), BigInt(bytes)];
  return record(
    ...[[4, 0x06064b50], 44n, [2, MADE_ON_UNIX + VERSION], [2, VERSION], [4, 0], [4, 0]] as const,
    ...[count, count, size, BigInt(at)],
    ...[[4, 0x07064b50], [4, 0], BigInt(at + bytes), [4, 1]] as const,
    ...[[4, 0x06054b50], [2, 0], [2, 0], [2, 0xffff], [2, 0xffff], [4, MOVED], [4, MOVED], [2, 0]] as const,
  );
}

/** The list of entries at the end of an archive, with the position of each. */
function directoryOf(entries: readonly ZipEntry[]): { positions: number[]; end: number; bytes: Uint8Array } {
  let end = 0;
  const positions = entries.map((entry) => {
    const at = end;
    end += localHeader(entry).length + entry.bytes;
    return at;
  });
  const headers = entries.map((entry, i) => centralHeader(entry, positions[i]));
  const size = headers.reduce((sum, { length }) => sum + length, 0);
  return { positions, end, bytes: record(...headers, endOf(entries.length, end, size)) };
}

/** Size of an archive of these files. */
export function zipBytes(entries: readonly ZipEntry[]): number {
  const { end, bytes } = directoryOf(entries);
  return end + bytes.length;
}

/**
 * Writes an archive of the files at `path` of each entry. Throws HotsetError if one cannot be read or differs from its
 * entry in length or checksum.
 */
export async function writeZip(
  path: string,
  entries: readonly (ZipEntry & { readonly path: string })[],
  onProgress: (fraction: number) => void,
): Promise<void> {
  const total = zipBytes(entries);
  using archive = new AtomicFile(path);
  const chunk = new Uint8Array(CHUNK_BYTES);
  for (const entry of entries) {
    archive.append(localHeader(entry));
    using source = new FileReader(entry.path);
    await copy(source, 0, entry, entry.path, chunk, (part) => {
      archive.append(part);
      onProgress(archive.bytes / total);
    });
  }
  archive.append(directoryOf(entries).bytes);
  archive.commit();
}

/**
 * Passes on the bytes of an entry in parts, between which the event loop turns. Throws HotsetError if its checksum
 * differs.
 */
async function copy(
  source: FileReader,
  at: number,
  { bytes, crc32 }: ZipEntry,
  named: string,
  chunk: Uint8Array,
  take: (part: Uint8Array) => void,
): Promise<void> {
  let sum = 0;
  for (let done = 0; done < bytes;) {
    const part = chunk.subarray(0, Math.min(chunk.length, bytes - done));
    source.read(at + done, part);
    sum = crc32Of(part, sum);
    take(part);
    done += part.length;
    if (breaks.due) await breaks.take();
  }
  if (sum !== crc32) throw new HotsetError(`Cannot read ${named}: its checksum does not match`, { code: "damaged" });
}

/** An archive that `writeZip` wrote, open for reading. */
export class StoredZip implements Disposable {
  readonly entries: readonly ZipEntry[];
  readonly #path: string;
  readonly #file: FileReader;
  readonly #positions: readonly number[];
  readonly #chunk = new Uint8Array(CHUNK_BYTES);

  /** Opens an archive. Throws HotsetError that describes the damage. */
  constructor(path: string) {
    this.#path = path;
    this.#file = attempt(`Cannot open ${path}`, () => new FileReader(path));
    try {
      this.entries = this.#readEntries(Deno.statSync(path).size);
      this.#positions = directoryOf(this.entries).positions;
    } catch (error) {
      this.#file[Symbol.dispose]();
      throw error;
    }
  }

  #readEntries(size: number): ZipEntry[] {
    const start = this.#read(0, Math.min(4, size));
    if (start.length < 4 || start.some((byte, i) => byte !== [0x50, 0x4b, 0x03, 0x04][i])) {
      throw new HotsetError(`Cannot open ${this.#path}: it is neither a run nor a packed run`);
    }
    const last = new DataView(this.#read(Math.max(0, size - END_BYTES), Math.min(size, END_BYTES)).buffer);
    if (last.byteLength < END_BYTES || last.getUint32(0, true) !== 0x06064b50) this.#fail("its end is missing");
    const bytes = Number(last.getBigUint64(40, true));
    const at = Number(last.getBigUint64(48, true));
    if (bytes > MAX_DIRECTORY_BYTES || at + bytes + END_BYTES !== size) this.#fail("its list of files is damaged");
    const read = this.#read(at, size - at);
    const entries = entriesIn(read.subarray(0, bytes));
    const expected = directoryOf(entries);
    if (expected.end !== at || !equal(expected.bytes, read)) this.#fail("its list of files is damaged");
    return entries;
  }

  #read(at: number, length: number): Uint8Array<ArrayBuffer> {
    const bytes = new Uint8Array(length);
    this.#file.read(at, bytes);
    return bytes;
  }

  /** Writes an entry to a new file. Throws HotsetError if it is damaged, or the file cannot be written. */
  async extract(entry: ZipEntry, path: string): Promise<void> {
    const at = this.#positions[this.entries.indexOf(entry)];
    const header = localHeader(entry);
    if (!equal(header, this.#read(at, header.length))) this.#fail(`the header of ${entry.name} is damaged`);
    using file = new ArtifactFile(path);
    const named = `${entry.name} in ${this.#path}`;
    await copy(this.#file, at + header.length, entry, named, this.#chunk, (part) => file.append(part));
  }

  #fail(reason: string): never {
    return cannot(`open ${this.#path}`, "damaged")(`${reason}; copy it again, or pack the run again`);
  }

  [Symbol.dispose](): void {
    this.#file[Symbol.dispose]();
  }
}

/** Parses the headers in a list of entries, up to the first incomplete one. */
function entriesIn(bytes: Uint8Array): ZipEntry[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const entries: ZipEntry[] = [];
  for (let at = 0; at + CENTRAL_HEADER_BYTES <= bytes.length;) {
    const name = at + CENTRAL_HEADER_BYTES;
    const lengths = name + view.getUint16(at + 28, true);
    if (lengths + 12 > bytes.length) break;
    entries.push({
      name: new TextDecoder().decode(bytes.subarray(name, lengths)),
      bytes: Number(view.getBigUint64(lengths + 4, true)),
      crc32: view.getUint32(at + 16, true),
    });
    at = lengths + view.getUint16(at + 30, true);
  }
  return entries;
}

function equal(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}
