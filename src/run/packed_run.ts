/** A run in one file, with everything that is needed to use its model. */
import { basename, join } from "node:path";
import { BEST_CHECKPOINT } from "../checkpoint/checkpoint_store.ts";
import { HotsetError } from "../errors.ts";
import type { Report } from "../events/events.ts";
import { bytes } from "../format.ts";
import { filesOf, isArtifact } from "../storage/artifact.ts";
import { expectRoom, freeBytes } from "../storage/disk.ts";
import { measure } from "../storage/file_entry.ts";
import { StoredZip, writeZip, zipBytes, type ZipEntry } from "../storage/stored_zip.ts";
import { TemporaryDirectory } from "../storage/temporary.ts";
import { ENCODING, RUN_FILE } from "./run_record.ts";
import { openTrainedOn, withBest } from "./trained_run.ts";

/** Names of the files in a packed run: those of a run with one checkpoint. */
const NAMES = new RegExp(
  `^(?:(?:${ENCODING}|${BEST_CHECKPOINT})/[a-z0-9][a-z0-9._-]*|${RUN_FILE.replace(".", "\\.")})$`,
);

/**
 * Writes a run's record, the encoding of its data and its best checkpoint to one file, which is used like the run by
 * evaluate, predict, export and serve. Returns its size in bytes. Throws HotsetError if the run cannot be opened or the
 * file cannot be written.
 */
export async function packRun(path: string, file: string, report: Report): Promise<number> {
  using opened = await UsableRun.open(path);
  const run = opened.directory;
  const encoding = await openTrainedOn(run, "pack");
  let kept = join(run, ENCODING);
  using temporary = isArtifact(kept) ? undefined : new TemporaryDirectory("hotset-"); // version 0.1 kept none
  if (temporary !== undefined) await encoding.save(kept = temporary.join(ENCODING));
  return await withBest(run, encoding, async ({ directory }) => {
    const record = join(run, RUN_FILE);
    const entries = [
      { name: RUN_FILE, path: record, ...measure(record) },
      ...entriesOf(kept, ENCODING),
      ...entriesOf(directory, BEST_CHECKPOINT),
    ];
    const size = zipBytes(entries);
    expectRoom(file, size, `pack ${path}`, "name a file on another disk");
    await writeZip(file, entries, (fraction) => report({ event: "stage", stage: "pack", fraction }));
    return size;
  });
}

/** The files of an artifact, in a folder of the packed run. */
function entriesOf(directory: string, folder: string): (ZipEntry & { path: string })[] {
  return [...filesOf(directory)].map(([name, entry]) => ({
    ...entry,
    name: `${folder}/${name}`,
    path: join(directory, name),
  }));
}

/** A run in use: a directory, or a packed run that is unpacked until it is disposed. */
export class UsableRun implements Disposable {
  /** The run. */
  readonly directory: string;
  /** True if it was packed. It then has no log of its training, and its data is elsewhere. */
  readonly packed: boolean;
  readonly #temporary: TemporaryDirectory | undefined;

  private constructor(directory: string, temporary?: TemporaryDirectory) {
    this.directory = directory;
    this.packed = temporary !== undefined;
    this.#temporary = temporary;
  }

  /** Unpacks a packed run into a temporary directory, with all checksums. Throws HotsetError if it is damaged. */
  static async open(path: string): Promise<UsableRun> {
    if (!isFile(path)) return new UsableRun(path);
    using zip = new StoredZip(path);
    const temporary = new TemporaryDirectory("hotset-");
    try {
      const directory = temporary.join(basename(path)); // messages name it
      await unpack(zip, path, directory);
      return new UsableRun(directory, temporary);
    } catch (error) {
      temporary[Symbol.dispose]();
      throw error;
    }
  }

  [Symbol.dispose](): void {
    this.#temporary?.[Symbol.dispose]();
  }
}

async function unpack(zip: StoredZip, path: string, directory: string): Promise<void> {
  const { entries } = zip;
  const strange = entries.find(({ name }) => !NAMES.test(name));
  if (strange !== undefined || new Set(entries.map(({ name }) => name)).size < entries.length) {
    throw new HotsetError(`Cannot open ${path}: it is not a packed run, or damaged`, { code: "damaged" });
  }
  const needed = entries.reduce((sum, entry) => sum + entry.bytes, 0);
  const free = freeBytes(directory) ?? Infinity;
  if (needed > free) {
    throw new HotsetError(
      `Cannot open ${path}: unpacked it takes ${bytes(needed)} and the folder for temporary files has ` +
        `${bytes(free)} free; name a folder on another disk with TMPDIR`,
      { code: "no-space" },
    );
  }
  for (const folder of [ENCODING, BEST_CHECKPOINT]) Deno.mkdirSync(join(directory, folder), { recursive: true });
  for (const entry of entries) await zip.extract(entry, join(directory, entry.name));
}

/** True if the path is a file: of runs, only a packed one is. */
export function isFile(path: string): boolean {
  try {
    return Deno.statSync(path).isFile;
  } catch {
    return false; // opening the run reports the reason
  }
}
