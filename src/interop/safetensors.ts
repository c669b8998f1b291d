/**
 * The safetensors format: eight bytes with the length of a JSON header, the header, and then the tensors' bytes without
 * gaps, little-endian and row-major. See https://huggingface.co/docs/safetensors.
 */
import { z } from "zod";
import { bytesOf, FileReader, firstIssue } from "../storage/artifact.ts";
import { attempt, cannot, messageOf } from "../errors.ts";
import { AtomicFile } from "../storage/atomic_file.ts";

/** Maximum size of a header, the same as in the format's own library. */
const MAX_HEADER_BYTES = 100_000_000;
const LENGTH_BYTES = 8;
/** The first four bytes of a zip archive. */
const ZIP = 0x04034b50n;
const METADATA = "__metadata__";
const DTYPE_BYTES = {
  ...{ BOOL: 1, U8: 1, I8: 1, F8_E4M3: 1, F8_E5M2: 1, I16: 2, U16: 2, F16: 2, BF16: 2 },
  ...{ I32: 4, U32: 4, F32: 4, I64: 8, U64: 8, F64: 8 },
} as const;

export type Dtype = keyof typeof DTYPE_BYTES;

/** A tensor of a file. */
export interface Tensor {
  readonly dtype: Dtype;
  readonly shape: readonly number[];
  /** Position of its first byte in the file. */
  readonly at: number;
}

export interface TensorSpec {
  readonly name: string;
  readonly dtype: Dtype;
  readonly shape: readonly number[];
}

const size = z.number().int().nonnegative();
const entry = z.strictObject({
  dtype: z.enum(Object.keys(DTYPE_BYTES) as [Dtype, ...Dtype[]]),
  shape: z.array(size),
  data_offsets: z.tuple([size, size]),
});
const metadataEntry = z.record(z.string(), z.string());

export interface Header {
  /** Tensors by name. */
  readonly tensors: ReadonlyMap<string, Tensor>;
  /** Metadata of the writer. */
  readonly metadata: Readonly<Record<string, string>>;
}

/**
 * Reads a header. `fileBytes` is the length of the whole file, which the tensors must fill without gaps and overlaps.
 * Throws HotsetError.
 */
export function parseHeader(path: string, header: Uint8Array, fileBytes: number): Header {
  const fail = cannot(`read ${path}`);
  let json: unknown;
  try {
    json = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(header));
  } catch {
    fail("its header is not JSON; it is not a safetensors file");
  }
  if (typeof json !== "object" || json === null || Array.isArray(json)) return fail("its header is not a JSON object");
  let metadata: Record<string, string> = {};
  const tensors = new Map<string, Tensor>();
  const spans: { name: string; begin: number; end: number }[] = [];
  for (const [name, value] of Object.entries(json)) {
    const shown = JSON.stringify(name.slice(0, 80));
    if (name === METADATA) {
      const parsed = metadataEntry.safeParse(value);
      if (!parsed.success) return fail(`${METADATA} in its header has values that are not text`);
      metadata = parsed.data;
      continue;
    }
    const parsed = entry.safeParse(value);
    if (!parsed.success) return fail(`tensor ${shown} has ${firstIssue(parsed.error)}`);
    const { dtype, shape, data_offsets: [begin, end] } = parsed.data;
    const bytes = shape.reduce((product, n) => product * n, DTYPE_BYTES[dtype]);
    if (end - begin !== bytes) fail(`tensor ${shown} of shape (${shape.join(", ")}) has ${end - begin} bytes`);
    tensors.set(name, { dtype, shape, at: LENGTH_BYTES + header.length + begin });
    spans.push({ name: shown, begin, end });
  }
  let next = 0;
  for (const { name, begin, end } of spans.sort((a, b) => a.begin - b.begin || a.end - b.end)) {
    if (begin !== next) {
      fail(`tensor ${name} ${begin < next ? "overlaps the one before" : "leaves a gap after the one before"}`);
    }
    next = end;
  }
  const data = fileBytes - LENGTH_BYTES - header.length;
  if (next !== data) fail(`its tensors have ${next} bytes, but the file has ${data}; it is truncated or damaged`);
  return { tensors, metadata };
}

/** Reads parts of a file's tensors into given memory. */
export class SafetensorsReader implements Disposable {
  readonly tensors: Header["tensors"];
  readonly metadata: Header["metadata"];
  readonly #reader: FileReader;

  /** Opens a file and validates its header. Throws HotsetError. */
  constructor(path: string) {
    const fail = cannot(`read ${path}`);
    let file: Deno.FileInfo | undefined;
    try {
      file = Deno.statSync(path);
    } catch (error) {
      fail(error instanceof Deno.errors.NotFound ? "no such file" : messageOf(error));
    }
    if (!file!.isFile) fail("it is not a file");
    if (file!.size < LENGTH_BYTES) fail("it is too short to be a safetensors file");
    this.#reader = attempt(`Cannot read ${path}`, () => new FileReader(path));
    try {
      const length = new BigUint64Array(1);
      this.#reader.read(0, new Uint8Array(length.buffer));
      if (length[0] > MAX_HEADER_BYTES || Number(length[0]) > file!.size - LENGTH_BYTES) {
        const isZip = (length[0] & 0xffffffffn) === ZIP;
        fail(
          isZip
            ? "it is a zip archive, as torch.save writes; save the tensors with safetensors.torch.save_file"
            : "it is not a safetensors file, or is truncated",
        );
      }
      const header = new Uint8Array(Number(length[0]));
      this.#reader.read(LENGTH_BYTES, header);
      ({ tensors: this.tensors, metadata: this.metadata } = parseHeader(path, header, file!.size));
    } catch (error) {
      this.#reader[Symbol.dispose]();
      throw error;
    }
  }

  /** Fills `target` with elements of an F32 tensor from element `first` on. */
  read({ at }: Tensor, first: number, target: Float32Array): void {
    this.#reader.read(at + 4 * first, target);
  }

  [Symbol.dispose](): void {
    this.#reader[Symbol.dispose]();
  }
}

/** Writes a file: the header first, then the tensors' bytes in the order of the specifications. */
export class SafetensorsWriter implements Disposable {
  readonly #file: AtomicFile;
  readonly #bytes: number;

  /** Writes the header. Throws HotsetError. */
  constructor(path: string, tensors: readonly TensorSpec[], metadata: Record<string, string>) {
    const header: Record<string, unknown> = { [METADATA]: metadata };
    let next = 0;
    for (const { name, dtype, shape } of tensors) {
      const begin = next;
      next += shape.reduce((product, n) => product * n, DTYPE_BYTES[dtype]);
      header[name] = { dtype, shape, data_offsets: [begin, next] };
    }
    const text = JSON.stringify(header);
    const bytes = new TextEncoder().encode(text);
    // Spaces align the tensors to eight bytes.
    const padded = new Uint8Array(Math.ceil(bytes.length / 8) * 8).fill(0x20);
    padded.set(bytes);
    this.#file = new AtomicFile(path);
    this.#bytes = LENGTH_BYTES + padded.length + next;
    this.#file.append(new Uint8Array(BigUint64Array.of(BigInt(padded.length)).buffer));
    this.#file.append(padded);
  }

  /** Appends the next bytes of the tensors. */
  append(array: Float32Array | Uint32Array): void {
    this.#file.append(bytesOf(array));
  }

  /** Renames the complete file to its final path. */
  commit(): void {
    if (this.#file.bytes !== this.#bytes) throw new Error(`${this.#file.bytes} bytes of ${this.#bytes} were written`);
    this.#file.commit();
  }

  [Symbol.dispose](): void {
    this.#file[Symbol.dispose]();
  }
}
