/** A DuckDB database for one job, with limits of memory and threads and its own directory for spilled data. */
import type { DuckDBConnection, DuckDBDataChunk, DuckDBInstance, DuckDBListVector } from "@duckdb/node-api";
import { breaks } from "../breaks.ts";
import { HotsetError, messageOf } from "../errors.ts";
import type { FileContent } from "./file_content.ts";

export interface EngineLimits {
  readonly memoryBytes: number;
  readonly threads: number;
  /** Aborting it makes the running statement fail. */
  readonly signal?: AbortSignal | undefined;
}

const PROGRESS_MS = 200;
/**
 * Modules of the package in the order in which they need each other: loading it at once would take this thread some
 * 100 ms. The second one loads the library.
 */
const DUCKDB_PARTS = ["DuckDBTypeId", "enums", "DuckDBType", "DuckDBVector", "DuckDBConnection"] as const;
/** Prefixes of DuckDB's messages. */
const ENGINE_ERROR = /^[A-Z][\w ]* Error: /;
/** Message of a full disk. */
const WRITE_ERROR = /Could not write (?:all bytes to )?file "([^"]*)": (.*)/;

/** An open database. Dispose of it before removing its directory. */
export class Engine implements Disposable {
  readonly #instance: DuckDBInstance;
  readonly #connection: DuckDBConnection;
  readonly #limits: EngineLimits;

  private constructor(limits: EngineLimits, instance: DuckDBInstance, connection: DuckDBConnection) {
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
      // Deno's permissions do not apply to native code: it must not download and run extensions.
      autoinstall_known_extensions: "false",
      autoload_known_extensions: "false",
    });
    const connection = await instance.connect();
    limits.signal?.addEventListener("abort", () => connection.interrupt(), { once: true });
    const engine = new Engine(limits, instance, connection);
    // The meaning of a log must not depend on the time zone of the machine.
    await engine.run("SET TimeZone = 'UTC'");
    return engine;
  }

  /** Runs a statement. `onProgress` is called regularly with the completed share, 0 to 1. */
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

  /** Appends rows to a table whose columns all have type VARCHAR. */
  async append(table: string, rows: readonly (readonly (string | null)[])[]): Promise<void> {
    this.#limits.signal?.throwIfAborted();
    const appender = await this.#connection.createAppender(table);
    for (const row of rows) {
      for (const text of row) {
        if (text === null) appender.appendNull();
        else appender.appendVarchar(text);
      }
      appender.endRow();
    }
    appender.closeSync();
  }

  /** Runs a statement on one thread, so that the bytes of a file that it writes do not depend on timing. */
  async runAlone(sql: string): Promise<void> {
    await this.run(`SET threads = 1; ${sql}; SET threads = ${this.#limits.threads}`);
  }

  /** All rows of a small result, as arrays. Integers beyond 32 bits are bigint. */
  async rows(sql: string): Promise<unknown[][]> {
    this.#limits.signal?.throwIfAborted();
    return (await this.#connection.runAndReadAll(sql)).getRows();
  }

  async number(sql: string): Promise<number> {
    return Number((await this.rows(sql))[0][0]);
  }

  /** The result in chunks of up to 2,048 rows, in order; later chunks are computed in the meantime. */
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

/**
 * Loads DuckDB, which is native code, only when a format needs it. Throws HotsetError if Deno's permissions forbid it.
 */
async function loadDuckDb() {
  try {
    for (const part of DUCKDB_PARTS) {
      if (breaks.due) await breaks.take();
      await import(`@duckdb/node-api/lib/${part}.js`);
    }
    if (breaks.due) await breaks.take();
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

/** The values of a numeric column of a chunk, without a copy. Uses the storage of the binding, a private property. */
export function numbers<A extends Uint8Array | Uint32Array | Float32Array | BigUint64Array>(vector: unknown): A {
  return (vector as { items: A }).items;
}

/** Words of a column of 64-bit hashes. */
export function hashWords(vector: unknown): Uint32Array {
  const hashes = numbers<BigUint64Array>(vector);
  return new Uint32Array(hashes.buffer, hashes.byteOffset, 2 * hashes.length);
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
 * SQL that is true if a value is one of a few. DuckDB evaluates a long IN as a join, for all rows even inside CASE and
 * even if the column is not used.
 */
export function isOneOf(value: string, values: readonly string[]): string {
  return `list_contains([${values.join(", ")}], ${value})`;
}

/** A name as an SQL identifier. */
export function identifier(text: string): string {
  return `"${text.replaceAll('"', '""')}"`;
}

/** SQL of the common arguments of functions that read text: no guessing, and no columns from names of directories. */
export function textFile({ path, content }: { readonly path: string; readonly content: FileContent }): string {
  const compression = content === "gzip" || content === "zstd" ? content : "none";
  return `${fileName(path)}, compression = '${compression}', hive_partitioning = false`;
}

/** SQL of a path in which DuckDB would otherwise interpret a pattern. */
function fileName(path: string): string {
  return quoted(path.replaceAll(/[*?[]/g, "[$&]"));
}

/** SQL of the rows of Parquet files with the columns of the files, without columns from names of directories. */
export function parquetFiles(paths: readonly string[]): string {
  return `read_parquet([${paths.map(fileName).join(", ")}], hive_partitioning = false)`;
}

/** DuckDB's message in one line. */
export function reasonOf(error: unknown): string {
  const [line] = messageOf(error).split("\n");
  return line.replace(ENGINE_ERROR, "");
}

/** True if DuckDB failed to write a temporary file, whatever it was reading. */
export function isWriteFailure(error: unknown): boolean {
  return WRITE_ERROR.test(messageOf(error));
}

/** Converts an error of DuckDB to one for the user; returns other errors unchanged. */
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
