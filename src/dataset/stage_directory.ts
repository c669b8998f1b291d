/** The staging directory of a dataset: stores finished steps, which are not repeated after a kill. */
import { basename, dirname, join } from "node:path";
import { fingerprint } from "../storage/artifact.ts";
import { attempt, Interrupted } from "../errors.ts";
import { throughLinks } from "../storage/links.ts";
import { AtomicFile } from "../storage/atomic_file.ts";

/** Incremented when staged files of an older Hotset cannot be used. */
const VERSION = 3;

/** Files of a table, u32 (rows) each, but for its dictionary, Parquet (feature, value, id). */
export interface TableFiles {
  readonly keys: string;
  readonly counts: string;
  /** The history of the rows of a table that grows (row_history.ts). */
  readonly unseen: string;
  readonly numbers: string;
  readonly dictionary: string;
}

/** A directory next to the output, named by what is prepared. */
export class StageDirectory {
  readonly directory: string;

  /** Opens or creates the staging directory of `out` for these contents and removes others. Throws HotsetError. */
  constructor(out: string, contents: unknown) {
    const target = throughLinks(out);
    const prefix = `.${basename(target)}.stage-`;
    const name = prefix + fingerprint([VERSION, target, contents]);
    this.directory = join(dirname(target), name);
    attempt(`Cannot write ${this.directory}`, () => {
      Deno.mkdirSync(dirname(target), { recursive: true });
      for (const entry of Deno.readDirSync(dirname(target))) {
        if (entry.name === name || !entry.name.startsWith(prefix)) continue;
        Deno.removeSync(join(dirname(target), entry.name), { recursive: true });
      }
      Deno.mkdirSync(this.directory, { recursive: true });
    });
  }

  path(name: string): string {
    return join(this.directory, name);
  }

  tableFiles(table: number): TableFiles {
    const path = (name: string) => this.path(`t${table}.${name}`);
    return {
      ...{ keys: path("keys.u32"), counts: path("counts.u32"), dictionary: path("parquet") },
      ...{ unseen: path("unseen.u32"), numbers: path("numbers.u32") },
    };
  }

  /** Paths of the files of a table's column in a log: ids, u32 (lookups), lengths of bags, u32 (rows), and weights, f32. */
  columnFiles(log: string, table: number): { ids: string; lengths: string; weights: string } {
    const path = (name: string) => this.path(`${log}.t${table}.${name}`);
    return { ids: path("ids.u32"), lengths: path("lengths.u32"), weights: path("weights.f32") };
  }

  /** The result of a finished step, or undefined. */
  finished<R>(name: string): R | undefined {
    try {
      return JSON.parse(Deno.readTextFileSync(this.#marker(name)));
    } catch {
      return undefined;
    }
  }

  /** Records that a step is finished, with a result that is plain data. */
  finish<R>(name: string, result: R): R {
    AtomicFile.write(this.#marker(name), [new TextEncoder().encode(JSON.stringify(result))]);
    return result;
  }

  /** Runs a step unless it is finished. */
  async step<R>(name: string, work: () => Promise<R> | R): Promise<R> {
    return this.finished<R>(name) ?? this.finish(name, await work());
  }

  /** The same for a step without a result. */
  async once(name: string, work: () => Promise<void>): Promise<void> {
    await this.step(name, async () => {
      await work();
      return true;
    });
  }

  /**
   * Runs the work that the steps belong to, then removes the directory if this is its owner. After a signal or a kill it
   * remains, and the next call continues; after a failure it is removed, because the input must change. Throws the reason
   * of the signal, or what `work` throws.
   */
  async during<R>(signal: AbortSignal | undefined, isOwner: boolean, work: () => Promise<R>): Promise<R> {
    let interrupted = false;
    try {
      return await work();
    } catch (error) {
      const cause = signal?.aborted ? signal.reason : error;
      interrupted = cause instanceof Interrupted;
      throw cause;
    } finally {
      if (isOwner && !interrupted) Deno.removeSync(this.directory, { recursive: true });
    }
  }

  #marker(name: string): string {
    return this.path(`${name}.json`);
  }
}
