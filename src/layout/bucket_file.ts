/**
 * Streams of words in one file: each is appended to on its own and read back as a whole.
 *
 * The file is a sequence of chunks of equal length. A chunk belongs to one stream and begins with two words: the number
 * of the stream's chunk before, plus one (0 for none), and the checksum of all that follows the checksum.
 */
import { crc32 } from "node:zlib";
import { bytesOf, FileReader } from "../storage/artifact.ts";
import { ArtifactFile } from "../storage/artifact_writer.ts";
import type { CreateFile } from "../storage/output_file.ts";
import { HotsetError } from "../errors.ts";

/** One write of a network disk; long enough to read an SSD at full speed. */
const CHUNK_BYTES = 1 << 16;
const CHUNK_WORDS = CHUNK_BYTES / 4;
const HEADER_WORDS = 2;
const PAYLOAD_WORDS = CHUNK_WORDS - HEADER_WORDS;

/** Position of a stream in its file. */
export interface StreamPlace {
  readonly words: number;
  /** Number of its last chunk, plus one; 0 if it has none. */
  readonly last: number;
}

/** Writes streams, with one chunk of memory for each. */
export class BucketFileWriter implements Disposable {
  readonly #file: ArtifactFile;
  readonly #direct: boolean;
  /** A chunk for each stream. */
  readonly #chunks: Uint32Array;
  /** Words used in the chunk of each stream, including its header. */
  readonly #filled: Uint32Array;
  readonly #words: Float64Array;
  readonly #last: Uint32Array;
  #written = 0;

  /** A new file for this number of streams. `create` opens it; undefined for an ordinary file. */
  constructor(path: string, streams: number, create?: CreateFile) {
    this.#file = new ArtifactFile(path, create);
    this.#direct = create !== undefined;
    this.#chunks = new Uint32Array(streams * CHUNK_WORDS);
    this.#filled = new Uint32Array(streams).fill(HEADER_WORDS);
    this.#words = new Float64Array(streams);
    this.#last = new Uint32Array(streams);
  }

  /** Appends words `[from, to)` to a stream. Throws HotsetError if writing fails. */
  append(stream: number, words: Uint32Array, from: number, to: number): void {
    const chunks = this.#chunks;
    const begin = stream * CHUNK_WORDS;
    this.#words[stream] += to - from;
    let filled = this.#filled[stream];
    for (let at = from; at < to;) {
      if (filled === CHUNK_WORDS) {
        this.#flush(stream, filled);
        filled = HEADER_WORDS;
      }
      const end = Math.min(to, at + CHUNK_WORDS - filled);
      while (at < end) chunks[begin + filled++] = words[at++];
    }
    this.#filled[stream] = filled;
  }

  /** Writes all buffered words and returns the positions of the streams. */
  finish(): StreamPlace[] {
    const places = Array.from(this.#words, (words, stream): StreamPlace => {
      const filled = this.#filled[stream];
      if (filled > HEADER_WORDS) this.#flush(stream, filled);
      return { words, last: this.#last[stream] };
    });
    if (this.#direct) this.#file.sync(); // the file may buffer its last bytes
    return places;
  }

  /** Writes the chunk of a stream, with this number of used words. */
  #flush(stream: number, filled: number): void {
    const chunk = this.#chunks.subarray(stream * CHUNK_WORDS, (stream + 1) * CHUNK_WORDS);
    chunk.fill(0, filled);
    chunk[0] = this.#last[stream];
    chunk[1] = crc32(bytesOf(chunk.subarray(HEADER_WORDS)));
    this.#file.append(chunk);
    this.#last[stream] = ++this.#written;
  }

  [Symbol.dispose](): void {
    this.#file[Symbol.dispose]();
  }
}

export class BucketFileReader implements Disposable {
  readonly #path: string;
  readonly #file: FileReader;
  readonly #chunk = new Uint32Array(CHUNK_WORDS);

  constructor(path: string) {
    this.#path = path;
    this.#file = new FileReader(path);
  }

  /** Reads a stream into `target` from word `at` on. Throws HotsetError if the file was changed. */
  read({ words, last }: StreamPlace, target: Uint32Array, at: number): void {
    const chunk = this.#chunk;
    let next = last;
    for (let part = Math.ceil(words / PAYLOAD_WORDS) - 1; part >= 0; part--) {
      if (next > 0) this.#file.read((next - 1) * CHUNK_BYTES, chunk);
      const payload = chunk.subarray(HEADER_WORDS);
      // Earlier chunks have smaller numbers, so this ends whatever the file contains.
      if (next === 0 || chunk[0] >= next || chunk[1] !== crc32(bytesOf(payload))) {
        throw new HotsetError(
          `Cannot read ${this.#path}: its content is not what was written; check the disk, then try again`,
        );
      }
      const begin = part * PAYLOAD_WORDS;
      target.set(payload.subarray(0, Math.min(PAYLOAD_WORDS, words - begin)), at + begin);
      next = chunk[0];
    }
  }

  [Symbol.dispose](): void {
    this.#file[Symbol.dispose]();
  }
}
