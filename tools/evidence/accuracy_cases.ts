/** The tables of accuracy on real logs: which contenders train on which log, and how their results become a table. */
import { resolveConfig, type TrainConfig } from "../../src/config/config.ts";
import { type ConfigByData, configByData } from "../../src/config/config_by_data.ts";
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
  taobao: { title: "Taobao", format: "taobao", inputs: ["taobao/UserBehavior_84k.csv.gz"] },
  avazu: { title: "Avazu", format: "avazu", inputs: ["avazu/head9999.csv.gz"] },
} satisfies Record<string, Log>;
/** Name of a log. */
export type LogName = keyof typeof LOGS;

/** A way of training. */
export interface Contender {
  /** Name in tables and in stored results. */
  readonly name: string;
  /** Options of preparing that are not defaults. */
  readonly raw: Partial<RawOptions>;
  /** Hotset's configuration with a seed; or the script of a peer in this folder, with arguments. */
  readonly trainer: ((seed: number) => TrainConfig | ConfigByData) | readonly [script: string, ...args: string[]];
  /** True if seeds make no difference, so that one run is enough. */
  readonly seedless?: boolean;
}

/** Stored result of a run: metrics of the test split. */
export interface Result {
  readonly log: LogName;
  readonly contender: string;
  readonly seed: number;
  readonly commit: string;
  readonly auc: number;
  readonly logloss: number;
  /** Of Hotset's runs. */
  readonly hotSampleShare?: number;
  /** Of runs that report every step: how often hot and cold batches alternate. */
  readonly switches?: number;
}

/** The results of all seeds, in order. */
type ResultsOf = (log: LogName, contender: Contender) => readonly Result[];

/** A table of docs/accuracy.md. */
export interface AccuracyTable {
  readonly name: string;
  readonly rows: readonly { readonly log: LogName; readonly contenders: readonly Contender[] }[];
  /** The table in Markdown, and the commits of its results. */
  text(resultsOf: ResultsOf): string;
}

/** A row of a table of pairs: what differs between two contenders with the same seeds. */
interface Pair {
  readonly log: LogName;
  /** Text of the column that says what is compared, from the results of `other` and of `plain`. */
  readonly what: (other: readonly Result[], plain: readonly Result[]) => string;
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
  return [line(columns), line(columns.map(() => "---")), ...rows.map(line), "", `Commit ${commits.join(", ")}.`].join(
    "\n",
  );
}

/**
 * A table of differences, each with its standard error over the seeds: other minus plain, so an AUC above 0 and a
 * logloss below 0 are better.
 */
function pairs(name: string, column: string, rows: readonly Pair[]): AccuracyTable {
  return {
    name,
    rows: rows.map(({ log, plain, other }) => ({ log, contenders: [plain, other] })),
    text(resultsOf) {
      const all: Result[] = [];
      const lines = rows.map(({ log, what, plain, other }) => {
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
        return [LOGS[log].title, what(b, a), ...figures];
      });
      return markdown(["log", column, "AUC", "difference", "logloss", "difference"], lines, all);
    },
  };
}

/** A table of contenders beside each other on each log. */
function means(name: string, logs: readonly LogName[], contenders: readonly Contender[]): AccuracyTable {
  return {
    name,
    rows: logs.map((log) => ({ log, contenders })),
    text(resultsOf) {
      const all: Result[] = [];
      const figure = (values: readonly number[]) => {
        const { mean, deviation } = meanOf(values);
        return values.length === 1 ? mean.toFixed(4) : `${mean.toFixed(4)} ± ${deviation.toFixed(4)}`;
      };
      const lines = contenders.map((contender) => [
        contender.name,
        ...logs.flatMap((log) => {
          const results = resultsOf(log, contender);
          all.push(...results);
          return [figure(results.map(({ auc }) => auc)), meanOf(results.map(({ logloss }) => logloss)).mean.toFixed(4)];
        }),
      ]);
      return markdown(["", ...logs.flatMap((log) => [`${LOGS[log].title}: AUC`, "logloss"])], lines, all);
    },
  };
}

/** Values seen once share a row, as in the published results on these rows of Criteo. */
const RARE_SHARED: Partial<RawOptions> = { minFrequency: 2 };

/** All of Hotset's runs: on one thread, without checkpoints. */
const ALONE: Partial<TrainConfig> = { device: "cpu", ranks: 1, save: false };

function precision(): AccuracyTable {
  const rates = { sgd: 0.1, adagrad: 0.01, adam: 0.001 } as const;
  const rows = (["sgd", "adagrad", "adam"] as const).map((optimizer): Pair => {
    const learningRate = rates[optimizer];
    const trained = (precision: "fp32" | "bf16"): Contender => ({
      name: `kaggle, ${optimizer}, ${precision}`,
      raw: RARE_SHARED,
      trainer: (seed) =>
        resolveConfig("kaggle", { ...ALONE, mode: "cpu", optimizer, learningRate, seed }, { precision }),
    });
    const what = () => `${optimizer}, ${learningRate}`;
    return { log: "criteo", what, plain: trained("fp32"), other: trained("bf16") };
  });
  return pairs("precision", "optimizer, rate", rows);
}

/** Training as the command does it, in mode cpu unless `layer` has another; the name is that of its results. */
function trained(log: LogName, name: string, layer: Partial<TrainConfig>): Contender {
  return {
    name: `default, ${name}`,
    raw: log === "criteo" ? RARE_SHARED : {},
    trainer: (seed) => configByData("default", { ...ALONE, mode: "cpu", ...layer, seed }),
  };
}

/** Mode fae with a budget and a schedule; every step is reported, so that switches of hot and cold batches are counted. */
function fae(log: LogName, hotMemory: number, schedule: Partial<TrainConfig> = {}): Contender {
  const name = ["fae", hotMemory, ...Object.values(schedule)].join(" ");
  return trained(log, name, { mode: "fae", hotMemory, printFreq: 1, ...schedule });
}

function placement(): AccuracyTable {
  const rows = (["criteo", "movielens"] as const).flatMap((log) => {
    const plain = trained(log, "cpu", {});
    const row = (name: string, layer: Partial<TrainConfig>): Pair => {
      return { log, what: () => name, plain, other: trained(log, name, layer) };
    };
    const budgets = [...(log === "criteo" ? [700e3, 2500e3] : [80e3, 160e3]), 512 * 2 ** 20];
    return [
      ...budgets.map((hotMemory): Pair => ({
        log,
        what: ([{ hotSampleShare }]) => `fae, ${(100 * hotSampleShare!).toFixed(0)} % of samples hot`,
        plain,
        other: fae(log, hotMemory),
      })),
      row("2 ranks", { ranks: 2 }),
      row("rows on disk, memory 25 %", { memory: { share: 0.25 } }),
    ];
  });
  return pairs("placement", "placement", rows);
}

/** Turns of hot and cold batches in mode fae. */
function schedule(): AccuracyTable {
  const rows = ([["movielens", 160e3], ["criteo", 2500e3]] as const).flatMap(([log, hotMemory]) => {
    const row = (turns: string, schedule: Partial<TrainConfig>): Pair => ({
      log,
      what: (other) => `${turns}: ${meanOf(other.map(({ switches }) => switches!)).mean.toFixed(0)}`,
      plain: trained(log, "cpu", {}),
      other: fae(log, hotMemory, schedule),
    });
    return [
      row("shrinking", {}),
      row("equal", { turns: "equal" }),
      row("equal, cold first", { turns: "equal", firstTurn: "cold" }),
    ];
  });
  return pairs("schedule", "turns: switches", rows);
}

/** The warm-up of preset default, beside training without one. */
function warmup(): AccuracyTable {
  const rows = (["criteo", "movielens", "taobao", "avazu"] as const).map((log): Pair => {
    const plain = trained(log, "cpu, no warm-up", { warmupSteps: 0 });
    const lowest = (results: readonly Result[]) => Math.min(...results.map(({ auc }) => auc)).toFixed(4);
    const what: Pair["what"] = (other, plain) => `${lowest(plain)}, ${lowest(other)}`;
    return { log, what, plain, other: trained(log, "cpu", {}) };
  });
  return pairs("warmup", "lowest AUC without, with", rows);
}

/** Training as the command does it, in the mode that it chooses. Saved, because the best of its checkpoints counts. */
function hotset(name: string, layer: Partial<TrainConfig>, raw: Partial<RawOptions> = {}): Contender {
  return {
    name: `Hotset, ${name}`,
    raw,
    trainer: (seed) => configByData("default", { ...ALONE, save: true, ...layer, seed }),
  };
}

/** Logistic regression on hashed values. */
function logistic(name = "", raw: Partial<RawOptions> = {}): Contender {
  const trainer = ["accuracy_sklearn.py", "logistic"] as const;
  return { name: `logistic regression, hashed${name}`, raw, trainer, seedless: true };
}

function models(): AccuracyTable {
  const pytorch = (name: string, ...args: string[]): Contender => ({
    name: `PyTorch DLRM, ${name}`,
    raw: {},
    trainer: ["accuracy_pytorch.py", ...args],
  });
  return means("models", ["criteo", "movielens", "taobao", "avazu"], [
    hotset("defaults", {}),
    hotset("`--epochs 1`", { epochs: 1 }),
    hotset("`--row-init 1`", { rowInit: 1 }),
    hotset("`--model dcnv2`", { model: "dcnv2" }),
    pytorch("Adagrad .01", "--optimizer", "adagrad", "--rate", "0.01"),
    pytorch("Adam .001", "--optimizer", "adam", "--rate", "0.001"),
    { name: "LightGBM", raw: {}, trainer: ["accuracy_sklearn.py", "trees"], seedless: true },
    logistic(),
  ]);
}

/** The smallest log with other shares of its rows in the test split. */
function cuts(): AccuracyTable {
  const contenders = [0.2, 0.3, 0.4, 0.5].flatMap((testFraction) => {
    const name = `last ${100 * testFraction} %`;
    return [hotset(`defaults, ${name}`, {}, { testFraction }), logistic(`, ${name}`, { testFraction })];
  });
  return means("cuts", ["avazu"], contenders);
}

/** All tables in the order in which they are measured. */
export const TABLES: readonly AccuracyTable[] = [precision(), placement(), schedule(), warmup(), models(), cuts()];
