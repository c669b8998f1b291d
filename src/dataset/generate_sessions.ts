/** Generates a dataset of sessions in the shape of Taobao. */
import { dirname } from "node:path";
import { UsageError } from "../errors.ts";
import { expectRoom } from "../storage/disk.ts";
import { TemporaryDirectory } from "../storage/temporary.ts";
import { type Dataset, type Split, SPLITS } from "./dataset.ts";
import { Engine, quoted } from "./duckdb.ts";
import { SessionModel } from "./session_model.ts";
import { type Users, writeWindows } from "./sessions.ts";
import { SAMPLE_BYTES, SESSION_TABLES, SessionWriter } from "./session_writer.ts";

const ENGINE_BYTES = 2 ** 29;

/** Options of generated sessions. */
export interface GenerateSessionsOptions {
  readonly seed: number;
  /** Divides the rows of the tables of Taobao; default 1. */
  readonly scale?: number;
  /** Samples of each split. */
  readonly samples: Readonly<Record<Split, number>>;
  /**
   * Users of the validation split: those of the train split, with windows that overlap its windows, as published; or
   * others.
   */
  readonly validationUsers: "train" | "other";
  readonly onProgress?: (fraction: number) => void;
}

/**
 * Writes a dataset of sessions of generated users; the value of a row in its dictionary is the number of the row. Throws
 * UsageError if there are too few users for its samples.
 */
export async function generateSessions(
  out: string,
  { seed, scale = 1, samples, validationUsers, onProgress }: GenerateSessionsOptions,
): Promise<Dataset> {
  const model = new SessionModel(seed, scale);
  const total = SPLITS.reduce((sum, split) => sum + samples[split], 0);
  expectRoom(out, total * SAMPLE_BYTES, `write dataset ${out}`);
  using writer = new SessionWriter(out, model.rows.reduce((sum, rows) => sum + rows, 0));
  const written = () => SPLITS.reduce((sum, split) => sum + writer.samples(split), 0);
  const write = async (split: Split, users: Users): Promise<number> => {
    const onUser = () => onProgress?.(written() / total);
    const next = await writeWindows(writer, split, model, { seed, users, samples: samples[split], onUser });
    const found = writer.samples(split);
    if (found === samples[split]) return next;
    throw new UsageError(
      `Cannot make ${samples[split]} ${split} samples: the users have ${found}; ask for fewer samples`,
    );
  };
  const trained = await write("train", { first: 0, end: model.users });
  const others = validationUsers === "other";
  const validated = await write(
    "validation",
    others ? { first: trained, end: model.users } : { first: 0, end: trained },
  );
  await write("test", { first: Math.max(trained, validated), end: model.users });
  const body = {
    source: { format: "generated", shape: "taobao", samples, seed, scale, validationUsers },
    tables: SESSION_TABLES.map((name, t) => ({ name, rows: model.rows[t], values: "number" as const })),
    skippedRows: 0,
    generated: { bestAuc: {} },
  };
  return await writer.commit(body, (path) => writeRowNumbers(path, model.rows));
}

/** Writes a dictionary in which the value of each row is its number; row 0 of each table has none. */
async function writeRowNumbers(path: string, rows: readonly number[]): Promise<void> {
  using directory = new TemporaryDirectory(".dictionary-", dirname(path));
  using engine = await Engine.create(directory.path, { memoryBytes: ENGINE_BYTES, threads: 1 });
  const tables = SESSION_TABLES.map((name, t) =>
    `SELECT ${quoted(name)} AS feature, range::VARCHAR AS value, range::UINTEGER AS id FROM range(1, ${rows[t]})`
  );
  await engine.runAlone(`COPY (${tables.join(" UNION ALL ")}) TO ${quoted(path)} (FORMAT parquet, COMPRESSION zstd)`);
}
