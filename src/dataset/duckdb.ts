/** A DuckDB database for one job: bounded in memory and threads, spilling to a directory of its own. */
import type { DuckDBConnection, DuckDBDataChunk, DuckDBInstance, DuckDBListVector } from "@duckdb/node-api";
import { HotsetError, messageOf } from "../errors.ts";
import type { FileContent } from "./file_content.ts";

/** What a database may use. */
export interface EngineLimits {
  /** Bytes that DuckDB may hold in memory. */
  readonly memoryBytes: number;
  readonly threads: number;
  /** When it is aborted, the statement that runs fails. */
  readonly signal?: AbortSignal | undefined;
}

const PROGRESS_MS = 200;
/** How DuckDB's messages begin. */
const ENGINE_ERROR = /^[A-Z][\w ]* Error: /;
/** How it says that the disk takes no more. */
const WRITE_ERROR = /Could not write (?:all bytes to )?file "([^"]*)": (.*)/;

/** An open database. Dispose of it before removing its directory. */
export class Engine implements Disposable {
  /** Where the job may keep files. */
  readonly directory: string;
  readonly #instance: DuckDBInstance;
  readonly #connection: DuckDBConnection;

  readonly #limits: EngineLimits;

  private constructor(
    directory: string,
    limits: EngineLimits,
    instance: DuckDBInstance,
    connection: DuckDBConnection,
  ) {
    this.directory = directory;
    this.#limits = limits;
    this.#instance = instance;
    this.#connection = connection;
  }

  /** Creates a database that spills to an existing, empty directory. */
  static async create(directory: string, limits: EngineLimits): Promise<Engine> {
    const { DuckDBInstance } = await loadDuckDb();
    const instance = await DuckDBInstance.create(":memory:", {
      memory_limit: `${Math.floor(limits.memoryBytes / 1e6)}MB`,
      threads: String(limits.threads),
      temp_directory: `${directory}/spill`,
      preserve_insertion_order: "true",
      // Native code is not held by Deno's permissions: it must not fetch and run extensions of its own accord.
      autoinstall_known_extensions: "false",
      autoload_known_extensions: "false",
    });
    const connection = await instance.connect();
    limits.signal?.addEventListener("abort", () => connection.interrupt(), { once: true });
    const engine = new Engine(directory, limits, instance, connection);
    // A log means the same wherever it is read.
    await engine.run("SET TimeZone = 'UTC'");
    return engine;
  }

  /** Runs a statement. `onProgress` is called now and then with the share done, 0 to 1. */
  async run(sql: string, onProgress?: (fraction: number) => void): Promise<void> {
    this.#limits.signal?.throwIfAborted();
    let timer: ReturnType<typeof setInterval> | undefined;
    let failure: { error: unknown } | undefined;
    if (onProgress !== undefined) {
      await this.run("SET enable_progress_bar = true; SET enable_progress_bar_print = false");
      timer = setInterval(() => {
        const { percentage } = this.#connection.progress;
        try {
          if (percentage >= 0) onProgress(percentage / 100);
        } catch (error) {
          failure = { error };
          this.#connection.interrupt();
        }
      }, PROGRESS_MS);
    }
    try {
      await this.#connection.run(sql);
    } catch (error) {
      throw failure === undefined ? error : failure.error;
    } finally {
      clearInterval(timer);
    }
  }

  /** Runs a statement on one thread, so that the bytes of a file it writes do not depend on who is faster. */
  async runAlone(sql: string): Promise<void> {
    await this.run(`SET threads = 1; ${sql}; SET threads = ${this.#limits.threads}`);
  }

  /** All rows of a small result, as arrays. Integers beyond 32 bits are bigint. */
  async rows(sql: string): Promise<unknown[][]> {
    this.#limits.signal?.throwIfAborted();
    return (await this.#connection.runAndReadAll(sql)).getRows();
  }

  /** The single number that a query returns. */
  async number(sql: string): Promise<number> {
    return Number((await this.rows(sql))[0][0]);
  }

  /** The result in chunks of up to 2,048 rows, in order; later chunks are computed meanwhile. */
  async *stream(sql: string): AsyncGenerator<DuckDBDataChunk> {
    this.#limits.signal?.throwIfAborted();
    const result = await this.#connection.stream(sql);
    for (;;) {
      const chunk = await result.fetchChunk();
      if (chunk === null || chunk.rowCount === 0) return;
      yield chunk;
    }
  }

  [Symbol.dispose](): void {
    this.#connection.closeSync();
    this.#instance.closeSync();
  }
}

/** DuckDB is native code, and so it is loaded where a format needs it, not before. Throws HotsetError if it may not be. */
async function loadDuckDb() {
  try {
    return await import("@duckdb/node-api");
  } catch (error) {
    throw new HotsetError(
      `Cannot start DuckDB, which reads all formats but criteo and dlrm: ${
        messageOf(error).split("\n")[0]
      }; it needs ` +
        `--allow-ffi (or -A)`,
      { cause: error },
    );
  }
}

/** The values of a numeric column of a chunk, without a copy. The binding keeps this array private; it is its storage. */
export function numbers<A extends Uint8Array | Uint32Array | Float32Array | BigUint64Array>(vector: unknown): A {
  return (vector as { items: A }).items;
}

/** Column `index` as a list column. */
export function lists(chunk: DuckDBDataChunk, index: number): DuckDBListVector {
  const vector = chunk.getColumnVector(index);
  if (!("childVector" in vector)) throw new Error(`column ${index} holds no lists`);
  return vector as DuckDBListVector;
}

/** A string as an SQL literal. */
export function quoted(text: string): string {
  return `'${text.replaceAll("'", "''")}'`;
}

/**
 * SQL that is true if a value is one of a few. DuckDB makes a join of a long IN, which is done for all rows whatever CASE
 * stands before it, and whether or not its column is used.
 */
export function isOneOf(value: string, values: readonly string[]): string {
  return `list_contains([${values.join(", ")}], ${value})`;
}

/** A name as an SQL identifier. */
export function identifier(text: string): string {
  return `"${text.replaceAll('"', '""')}"`;
}

/** SQL of the first arguments of what reads text: the file is what it holds, and folders add no columns. */
export function textFile({ path, content }: { readonly path: string; readonly content: FileContent }): string {
  const compression = content === "gzip" || content === "zstd" ? content : "none";
  return `${fileName(path)}, compression = '${compression}', hive_partitioning = false`;
}

/** SQL of a path that DuckDB would else take for a pattern. */
function fileName(path: string): string {
  return quoted(path.replaceAll(/[*?[]/g, "[$&]"));
}

/** SQL of the rows of Parquet files, with the columns that the files have: what folders are called adds none. */
export function parquetFiles(paths: readonly string[]): string {
  return `read_parquet([${paths.map(fileName).join(", ")}], hive_partitioning = false)`;
}

/** What DuckDB has to say, in one line. */
export function reasonOf(error: unknown): string {
  const [line] = messageOf(error).split("\n");
  return line.replace(ENGINE_ERROR, "");
}

/** True if DuckDB failed to write a file of its own, whatever it was reading. */
export function isWriteFailure(error: unknown): boolean {
  return WRITE_ERROR.test(messageOf(error));
}

/** Turns an error of DuckDB into one for the user; any other error stays what it is. */
export function engineFailure(doing: string, error: unknown): unknown {
  const text = messageOf(error);
  if (error instanceof HotsetError || !ENGINE_ERROR.test(text)) return error;
  const written = WRITE_ERROR.exec(text);
  if (written !== null) return new HotsetError(`Cannot write ${written[1]}: ${written[2]}`, { cause: error });
  const hint = /out of memory/i.test(text)
    ? "; allow more with --memory"
    : /no space left/i.test(text)
    ? "; free some disk space"
    : "";
  return new HotsetError(`Cannot ${doing}: ${reasonOf(error)}${hint}`, { cause: error });
}
