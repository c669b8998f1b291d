/** Prepares sessions from a log of the behaviour of users, with the splits that were published for TBSM. */
import { expectRoom } from "../storage/disk.ts";
import { linkOrCopy } from "../storage/links.ts";
import { BehaviourHistories, type HistoryOptions } from "./behaviour_histories.ts";
import { type Dataset, type DatasetBody, type Split, SPLITS } from "./dataset.ts";
import { type Users, writeWindows } from "./sessions.ts";
import { StageDirectory } from "./stage_directory.ts";
import { SAMPLE_BYTES, SESSION_TABLES, SessionWriter } from "./session_writer.ts";

/** The published seed; the validation split has one of its own. */
const SEED = 123;
/** Users of the published splits, at most. */
const TRAIN_USERS = 690_000, VALIDATION_USERS = 300_000;

/** Which users a split has. */
export interface SessionShares {
  /** Share of the users, those who were active last. */
  readonly test: number;
  /** Share of the other users, who are then not in the train split; undefined for users of the train split, as published. */
  readonly validation?: number;
}

/** Makes sessions by way of a dataset of rows, in a staging directory. The caller holds the lock of the output. */
export async function withRows<R>(
  { out, signal }: { readonly out: string; readonly signal?: AbortSignal | undefined },
  source: DatasetBody["source"],
  make: (rows: string) => Promise<R>,
): Promise<R> {
  const stage = new StageDirectory(out, source);
  return await stage.during(signal, true, () => make(stage.path("rows")));
}

/**
 * Writes the sessions of a log whose rows are the train split of a dataset in the order of time. Throws HotsetError if
 * there is not enough memory, or a user has chosen all items.
 */
export async function writeLogSessions(
  log: Dataset,
  out: string,
  source: DatasetBody["source"],
  shares: SessionShares,
  { inputs, memoryBytes, onProgress }: {
    readonly inputs: readonly string[];
    readonly memoryBytes: number;
    readonly onProgress: (fraction: number) => void;
  },
): Promise<Dataset> {
  const options: HistoryOptions = { source: inputs.join(", "), testShare: shares.test, seed: SEED, memoryBytes };
  const histories = await BehaviourHistories.create(log, options);
  const users = usersOf(histories, shares);
  const { skippedRows, read, tables } = log.body;
  using writer = new SessionWriter(out, log.rows);
  const all = SPLITS.reduce((sum, split) => sum + users[split].end - users[split].first, 0);
  expectRoom(out, users.test.end * SAMPLE_BYTES, `write dataset ${out}`);
  let done = 0;
  for (const split of SPLITS) {
    const onUser = () => onProgress(++done / all);
    await writeWindows(writer, split, histories, { seed: SEED, users: users[split], onUser });
  }
  const body = {
    source,
    tables: tables.map((table, t) => ({ ...table, name: SESSION_TABLES[t] })),
    ...{ skippedRows, read, generated: null },
  };
  return await writer.commit(body, (path) => Promise.resolve(linkOrCopy(log.dictionaryPath!, path)));
}

/** The users of each split: those who train come first. */
function usersOf({ users, trainUsers }: BehaviourHistories, { validation }: SessionShares): Record<Split, Users> {
  const test = { first: trainUsers, end: users };
  const most = Math.min(TRAIN_USERS, trainUsers);
  if (validation === undefined) {
    return { test, train: { first: 0, end: most }, validation: { first: 0, end: Math.min(VALIDATION_USERS, most) } };
  }
  const trained = most - Math.floor(most * validation);
  return { test, train: { first: 0, end: trained }, validation: { first: trained, end: most } };
}

/** Note about a validation split of sessions whose users are those of the train split; undefined for all other data. */
export function sharedUsersNote({ body: { source, splits } }: Dataset): string | undefined {
  const { users, validationUsers } = source as { users?: SessionShares; validationUsers?: unknown };
  const shared = validationUsers === "train" || users !== undefined && users.validation === undefined;
  if (!shared || splits.validation.samples === 0) return undefined;
  return "The validation split has users of the train split, with overlapping histories, as published for TBSM: its " +
    "metrics are too good; the test split has other users";
}
