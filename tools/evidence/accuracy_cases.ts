/** The tables of accuracy on real logs: which contenders train on which log, and how their results become a table. */
import { type Preset, resolveConfig, type TrainConfig } from "../../src/config/config.ts";
import type { Format } from "../../src/dataset/formats.ts";
import type { RawOptions } from "../../src/run/stages.ts";

/** A log in the folder of data. */
export interface Log {
  readonly title: string;
  readonly format: Format;
  readonly inputs: readonly string[];
  readonly testInputs?: readonly string[];
}

/** The logs, by name. */
export const LOGS = {
  criteo: {
    title: "Criteo",
    format: "criteo",
    inputs: ["criteo_kaggle/train137k_part0.tsv.gz", "criteo_kaggle/train137k_part1.tsv.gz"],
    testInputs: ["criteo_kaggle/train137k_part2.tsv.gz"],
  },
  movielens: { title: "MovieLens", format: "movielens", inputs: ["movielens/ml100k_u.data.gz"] },
} satisfies Record<string, Log>;
/** Name of a log. */
export type LogName = keyof typeof LOGS;

/** A way of training. */
export interface Contender {
  /** Name in tables and in stored results. */
  readonly name: string;
  /** Options of preparing that are not defaults. */
  readonly raw: Partial<RawOptions>;
  /** The configuration, except for the seed. */
  readonly config: TrainConfig;
}

/** Stored result of a run: metrics of the test split. */
export interface Result {
  readonly log: LogName;
  readonly contender: string;
  readonly seed: number;
  readonly commit: string;
  readonly auc: number;
  readonly logloss: number;
  readonly hotSampleShare: number;
}

/** The results of all seeds, in order. */
type ResultsOf = (log: LogName, contender: Contender) => readonly Result[];

/** A table of docs/accuracy.md. */
export interface AccuracyTable {
  readonly name: string;
  readonly seeds: number;
  readonly rows: readonly { readonly log: LogName; readonly contenders: readonly Contender[] }[];
  /** The table in Markdown, and the commits of its results. */
  text(resultsOf: ResultsOf): string;
}

/** A row of a table of pairs: what differs between two contenders with the same seeds. */
interface Pair {
  readonly log: LogName;
  /** Text of the columns that say what is compared. */
  readonly cells: readonly string[];
  readonly plain: Contender;
  readonly other: Contender;
}

/** Mean with the standard deviation or, divided by the root of their number, the standard error. */
export function meanOf(values: readonly number[]): { mean: number; deviation: number; error: number } {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  const deviation = Math.sqrt(values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (values.length - 1));
  return { mean, deviation, error: deviation / Math.sqrt(values.length) };
}

const signed = (value: number) => `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(5)}`;

function markdown(
  columns: readonly string[],
  rows: readonly (readonly string[])[],
  results: readonly Result[],
): string {
  const line = (cells: readonly string[]) => `| ${cells.join(" | ")} |`;
  const commits = [...new Set(results.map(({ commit }) => commit.slice(0, 7)))];
  return [line(columns), line(columns.map(() => "---")), ...rows.map(line), "", `Commit ${commits.join(", ")}`].join(
    "\n",
  );
}

/**
 * A table of differences, each with its standard error over the seeds: other minus plain, so an AUC above 0 and a
 * logloss below 0 are better.
 */
function pairs(name: string, seeds: number, columns: readonly string[], rows: readonly Pair[]): AccuracyTable {
  return {
    name,
    seeds,
    rows: rows.map(({ log, plain, other }) => ({ log, contenders: [plain, other] })),
    text(resultsOf) {
      const all: Result[] = [];
      const lines = rows.map(({ log, cells, plain, other }) => {
        const [a, b] = [resultsOf(log, plain), resultsOf(log, other)];
        all.push(...a, ...b);
        const figures = (["auc", "logloss"] as const).flatMap((metric) => {
          const { mean, deviation } = meanOf(a.map((result) => result[metric]));
          const difference = meanOf(b.map((result, i) => result[metric] - a[i][metric]));
          return [
            `${mean.toFixed(4)} ± ${deviation.toFixed(4)}`,
            `${signed(difference.mean)} ± ${difference.error.toFixed(5)}`,
          ];
        });
        return [LOGS[log].title, ...cells, ...figures];
      });
      return markdown(["log", ...columns, "AUC", "difference", "logloss", "difference"], lines, all);
    },
  };
}

/** Values seen once share a row, as in the published results on these rows of Criteo. */
const RARE_SHARED: Partial<RawOptions> = { minFrequency: 2 };

function hotset(name: string, raw: Partial<RawOptions>, preset: Preset, layer: Partial<TrainConfig>): Contender {
  return { name, raw, config: resolveConfig(preset, { mode: "cpu", device: "cpu", ranks: 1, save: false }, layer) };
}

function precision(): AccuracyTable {
  const rates = { sgd: 0.1, adagrad: 0.01, adam: 0.001 } as const;
  const rows = (["sgd", "adagrad", "adam"] as const).map((optimizer): Pair => {
    const trained = (precision: "fp32" | "bf16") =>
      hotset(`kaggle, ${optimizer}, ${precision}`, RARE_SHARED, "kaggle", {
        optimizer,
        learningRate: rates[optimizer],
        precision,
      });
    return {
      log: "criteo",
      cells: [`${optimizer}, ${rates[optimizer]}`],
      plain: trained("fp32"),
      other: trained("bf16"),
    };
  });
  return pairs("precision", 5, ["optimizer, rate"], rows);
}

/** All tables in the order in which they are measured. */
export const TABLES: readonly AccuracyTable[] = [precision()];
