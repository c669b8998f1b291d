/**
 * Compares the time model of `plan --on` with the training times that the FAE paper published, and with an H100.
 *
 *     deno run -A tools/time_model.ts     print the tables of docs/time_model.md
 *
 * The paper's software is XDL, whose steps have costs that no data sheet contains. Three constants of it are fitted on
 * Criteo Kaggle; the other three data sets test them.
 */
import { publishedPopularity } from "../src/plan/budgets.ts";
import { distinctRows } from "../src/plan/budgets.ts";
import { gpuMachine } from "../src/plan/machines.ts";
import { stepTime } from "../src/plan/time.ts";
import { PUBLISHED } from "../src/dataset/published.ts";
import { planModel } from "../src/model/shape.ts";
import { type CountedStep, countStep } from "../src/ranks/count_memory.ts";

/** A data set of the paper: sizes, and minutes of ten epochs on 1, 2 and 4 GPUs. */
interface Published {
  readonly name: string;
  readonly samples: number;
  readonly tableRows: readonly number[];
  /** Lookups of a sample. */
  readonly lookups: number;
  readonly dim: number;
  readonly bottom: readonly number[];
  readonly top: readonly number[];
  /** Samples of a batch on one GPU. */
  readonly batch: number;
  readonly hotShare: { readonly rows: number; readonly samples: number };
  readonly distinct: (batch: number) => number;
  readonly minutes: { readonly xdl: readonly number[]; readonly fae: readonly number[] };
}

const rowsOf = (data: keyof typeof PUBLISHED) => PUBLISHED[data].tables.map(({ rows }) => rows);
const popularOf = (data: keyof typeof PUBLISHED) => {
  const classes = publishedPopularity(PUBLISHED[data].tables);
  return (batch: number) => distinctRows(classes, batch);
};

/** Lookups of a sample of Taobao: 21 items and their categories, and a user. */
const TAOBAO_LOOKUPS = 43;

const PAPER: readonly Published[] = [
  {
    ...{ name: "Kaggle", samples: 45e6, tableRows: rowsOf("kaggle"), lookups: 26, dim: 16, batch: 1024 },
    ...{ bottom: [13, 512, 256, 64, 16], top: [512, 256, 1], hotShare: { rows: 0.068, samples: 0.758 } },
    distinct: popularOf("kaggle"),
    minutes: { xdl: [196.97, 179.16, 160.65], fae: [122.71, 116.27, 104.69] },
  },
  {
    ...{ name: "Terabyte", samples: 80e6, tableRows: rowsOf("terabyte"), lookups: 26, dim: 64, batch: 1024 },
    ...{ bottom: [13, 512, 256, 64], top: [512, 512, 256, 1], hotShare: { rows: 0.007, samples: 0.816 } },
    distinct: popularOf("terabyte"),
    minutes: { xdl: [380.88, 330.06, 309.51], fae: [189.73, 201.61, 156.45] },
  },
  {
    ...{ name: "Avazu", samples: 32.3e6, tableRows: rowsOf("avazu"), lookups: 21, dim: 16, batch: 1024 },
    ...{ bottom: [1, 512, 256, 64, 16], top: [512, 256, 1], hotShare: { rows: 0.17, samples: 0.746 } },
    distinct: popularOf("avazu"),
    minutes: { xdl: [108.24, 84.04, 74.2], fae: [72.07, 62.73, 61.15] },
  },
  {
    ...{ name: "Taobao", samples: 10e6, tableRows: [4_162_024, 9_439, 987_994], lookups: TAOBAO_LOOKUPS, dim: 16 },
    ...{ batch: 256, bottom: [1, 16], top: [60, 1], hotShare: { rows: 0.76, samples: 0.924 } },
    distinct: (batch) => batch * TAOBAO_LOOKUPS, // the popularity of its rows is not published: an upper bound
    minutes: { xdl: [813.1, 677, 621.96], fae: [436.58, 387.79, 428.55] },
  },
];

const V100 = gpuMachine("v100");
const EPOCHS = 10;

/** Seconds of a step by the data sheets, and the counts that the constants multiply. */
interface Step {
  readonly seconds: number;
  /** Kernels and copies of a device, which XDL starts one by one; accesses of rows on the host; samples. */
  readonly counts: readonly [launches: number, rows: number, samples: number];
}

function stepOf(counted: CountedStep, samples: number): Step {
  const { host, device } = counted;
  const rows = host.kernels.reduce((sum, kernel) => sum + kernel.rows, 0);
  const { device: computed, copies, exchange } = stepTime(counted, V100.cores, V100);
  return {
    seconds: computed + copies + exchange,
    counts: [device.kernels.length + device.copies.length, rows, samples],
  };
}

/** A time of the table, as seconds by data sheets and sums of the counts over the whole training. */
interface Case {
  readonly data: string;
  readonly mode: "hybrid" | "fae";
  readonly gpus: number;
  readonly minutes: number;
  readonly seconds: number;
  readonly counts: readonly number[];
}

function casesOf(data: Published): Case[] {
  const { dim, tableRows, bottom, top, lookups, samples, hotShare } = data;
  const shape = { dim, tableRows: [...tableRows], bottom: [...bottom], top: [...top] };
  const plan = planModel({ ...shape, interaction: "dot", optimizer: "sgd" });
  return [1, 2, 4].flatMap((gpus, at) => {
    const batchSize = data.batch * gpus, tables = tableRows.length;
    const batchShape = {
      ...{ batchSize, tables, denseFeatures: bottom[0], bags: lookups > tables },
      lookupCapacity: batchSize * lookups,
    };
    const distinct = Math.round(data.distinct(batchSize));
    const hotRows = new Uint32Array(Math.round(hotShare.rows * plan.rows));
    const options = { plan, batchShape, ranks: gpus, onDevice: true };
    const cold = stepOf(countStep(options, { distinct, hot: false }), batchSize);
    const hot = stepOf(countStep({ ...options, hotRows }, { distinct, hot: true }), batchSize);
    const steps = EPOCHS * samples / batchSize;
    const mixed = (share: number, mode: "hybrid" | "fae"): Case => ({
      ...{ data: data.name, mode, gpus, minutes: data.minutes[mode === "fae" ? "fae" : "xdl"][at] },
      seconds: steps * (share * hot.seconds + (1 - share) * cold.seconds),
      counts: cold.counts.map((count, i) => steps * (share * hot.counts[i] + (1 - share) * count)),
    });
    return [mixed(0, "hybrid"), mixed(hotShare.samples, "fae")];
  });
}

function predict({ seconds, counts }: Case, constants: readonly number[]): number {
  return (seconds + counts.reduce((sum, count, i) => sum + count * constants[i], 0)) / 60;
}

/** Constants that are not negative, with the least sum of squares of relative errors, by coordinate descent. */
function fit(cases: readonly Case[]): number[] {
  const constants = [0, 0, 0];
  for (let round = 0; round < 20_000; round++) {
    constants.forEach((_, i) => {
      let [above, below] = [0, 0];
      for (const item of cases) {
        const slope = item.counts[i] / 60 / item.minutes;
        above += slope * (1 - predict(item, constants) / item.minutes);
        below += slope * slope;
      }
      constants[i] = Math.max(0, constants[i] + above / below);
    });
  }
  return constants;
}

if (import.meta.main) {
  const cases = PAPER.flatMap(casesOf);
  const constants = fit(cases.filter(({ data }) => data === "Kaggle"));
  const [launch, row, sample] = constants.map((seconds) => (1e6 * seconds).toPrecision(3));
  console.log(`Fitted: ${launch} µs a launch, ${row} µs an access of a row on the host, ${sample} µs a sample\n`);
  console.log("| data | mode | GPUs | published, min | model, min | error | data sheets alone, min |");
  console.log("|-|-|-:|-:|-:|-:|-:|");
  for (const item of cases) {
    const minutes = predict(item, constants), error = 100 * (minutes / item.minutes - 1);
    console.log(
      `| ${item.data} | ${item.mode} | ${item.gpus} | ${item.minutes} | ${minutes.toFixed(1)} | ` +
        `${error > 0 ? "+" : ""}${error.toFixed(0)} % | ${(item.seconds / 60).toFixed(2)} |`,
    );
  }
}
