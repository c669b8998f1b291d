/** An artifact that a process group writes: each rank writes a part of every file, concatenated in rank order. */
import { join } from "node:path";
import type { ArtifactKind } from "./artifact.ts";
import { ArtifactFile, ArtifactWriter } from "./artifact_writer.ts";
import { joinCrc32 } from "./crc32.ts";
import type { FileEntry } from "./file_entry.ts";
import { type CreateFile, writeAll } from "./output_file.ts";
import { attempt } from "../errors.ts";
import { type ProcessGroup, together } from "../parallel/process_group.ts";

const COPY_BYTES = 8 << 20;

/** Like ArtifactWriter, one on every rank of a group. The first rank writes its part to the file itself. */
export class GroupWriter implements Disposable {
  readonly #group: ProcessGroup;
  readonly #writer: ArtifactWriter | undefined;
  readonly #directory: string;
  readonly #create: CreateFile | undefined;
  /** Parts of the other ranks, in separate files until they are joined. */
  readonly #parts = new Map<string, ArtifactFile>();

  /** Collective. `create` opens the files; undefined for ordinary files. */
  constructor(group: ProcessGroup, kind: ArtifactKind, directory: string, create?: CreateFile) {
    this.#group = group;
    this.#create = create;
    this.#writer = together(group, () => group.rank === 0 ? new ArtifactWriter(kind, directory, create) : undefined);
    this.#directory = group.gather(this.#writer?.path("") ?? "")[0];
  }

  /** Directory of the files until the commit. */
  path(name: string): string {
    return join(this.#directory, name);
  }

  /** This rank's part of a file, created at the first call. */
  file(name: string): ArtifactFile {
    if (this.#writer !== undefined) return this.#writer.file(name);
    let part = this.#parts.get(name);
    if (part === undefined) this.#parts.set(name, part = new ArtifactFile(this.#partPath(name), this.#create));
    return part;
  }

  /** On the first rank adds a complete file that another program has written to `path(name)`. */
  adopt(name: string, entry: FileEntry): void {
    this.#writer!.adopt(name, entry);
  }

  /** Joins the parts and completes the artifact. Collective; `body` is that of the first rank. */
  commit(body: unknown): void {
    const group = this.#group;
    const parts = group.gather([...this.#parts].map(([name, { bytes, crc32 }]) => ({ name, bytes, crc32 })));
    const endOf = (name: string) => this.#writer?.file(name).bytes ?? 0;
    const [ends] = group.gather(
      together(group, () => Object.fromEntries(parts.flat().map(({ name }) => [name, endOf(name)]))),
    );
    together(group, () => {
      for (const [rank, list] of parts.entries()) {
        for (const { name, bytes, crc32 } of list) {
          if (rank === group.rank) this.#join(name, ends[name]);
          ends[name] += bytes;
          if (this.#writer === undefined) continue;
          const file = this.#writer.file(name);
          file.crc32 = joinCrc32(file.crc32, crc32, bytes);
          file.bytes += bytes;
        }
      }
    });
    together(group, () => this.#writer?.commit(body));
  }

  /** Copies this rank's part to its position in the file. */
  #join(name: string, at: number): void {
    {
      using part = this.#parts.get(name)!;
      this.#parts.delete(name);
      if (this.#create !== undefined) part.sync();
    }
    attempt(`Cannot write ${this.path(name)}`, () => {
      using part = Deno.openSync(this.#partPath(name));
      using file = Deno.openSync(this.path(name), { write: true });
      file.seekSync(at, Deno.SeekMode.Start);
      const chunk = new Uint8Array(COPY_BYTES);
      for (let count = part.readSync(chunk); count !== null; count = part.readSync(chunk)) {
        writeAll(file, chunk.subarray(0, count));
      }
      Deno.removeSync(this.#partPath(name));
    });
  }

  #partPath(name: string): string {
    return this.path(`${name}.${this.#group.rank}`);
  }

  /** Closes the files; the first rank removes the directory of an uncommitted artifact. */
  [Symbol.dispose](): void {
    for (const part of this.#parts.values()) part[Symbol.dispose]();
    this.#writer?.[Symbol.dispose]();
  }
}
