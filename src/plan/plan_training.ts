/** Plans a training run without training: memory, coverage of a budget, whether it fits, and what to change if not. */
import { rowStateWords } from "../optimizer/optimizers.ts";
import { atOnce, inParts, type Parts } from "../breaks.ts";
import type { Dataset } from "../dataset/dataset.ts";
import { averageBatch, type BatchShape } from "../layout/batch.ts";
import { type ModelPlan, planModel, shapeOf } from "../model/shape.ts";
import { allHotSampleShare, drawSamples } from "../profile/coverage.ts";
import { planHotRows, wholeTables } from "../profile/plan_hot_rows.ts";
import { bytes } from "../format.ts";
import { canTrain, expectDenseFeatures, type TrainConfig } from "../config/config.ts";
import { cpuPrecision } from "../config/placement_options.ts";
import {
  countedPopularity,
  distinctRows,
  fetchedRows,
  planBudgets,
  type PlannedBudget,
  type PopularityClass,
  publishedPopularity,
} from "./budgets.ts";
import { allHotShare, fillBudget } from "./hot_share.ts";
import type { GpuMachine } from "./machines.ts";
import { type MemoryPlan, type Placement, PLACEMENTS, planMemory } from "./memory.ts";
import { type PlannedTime, planTime } from "./time.ts";
import type { PublishedData } from "../dataset/published.ts";

/** A table and its memory. */
export interface PlannedTable {
  /** Name of the feature. */
  readonly name: string;
  /** Number of rows. */
  readonly rows: number;
  /** Bytes of its weights. */
  readonly bytes: number;
  /** Bytes of its optimizer state. */
  readonly stateBytes: number;
  /** Rows expected to be hot. */
  readonly hotRows: number;
  /** Expected share of its lookups that are of hot rows. */
  readonly lookupShare: number;
}

/** Memory of a machine, in bytes. */
export interface Machine {
  /** Total memory in bytes. */
  readonly total: number;
  /** Bytes available to a new process. */
  readonly available: number;
}

/** A plan, which is also its JSON event. */
export interface TrainingPlan {
  /** Kind of event. */
  readonly event: "plan";
  /** The dataset or published data set. */
  readonly source: string;
  /** Number of rows of all tables. */
  readonly rows: number;
  /** All tables. */
  readonly tables: readonly PlannedTable[];
  /** The budget of the hot rows in bytes. */
  readonly hotMemory: number;
  /** Number of rows in the budget. */
  readonly hotRows: number;
  /** Their bytes, with optimizer state. */
  readonly hotBytes: number;
  /** Expected share of the lookups that are of hot rows. */
  readonly hotLookupShare: number;
  /** Expected share of samples whose lookups are all hot; null if the dependence between tables is unknown. */
  readonly hotSampleShare: number | null;
  /** The machine. */
  readonly machine: Machine;
  /** Memory of every mode, and whether its host part fits in this machine. */
  readonly placements: readonly (MemoryPlan & { readonly fits: boolean })[];
  /** The time of every mode on the machine of `--on`; null without it. */
  readonly on: { readonly machine: GpuMachine; readonly times: readonly PlannedTime[] } | null;
  /** Mode cpu with less memory than all rows take, the others on disk. */
  readonly budgets: readonly PlannedBudget[];
  /** What to change for the placements that do not fit in this machine. */
  readonly advice: readonly string[];
}

/** What a plan depends on. */
export type PlanConfig = Pick<
  TrainConfig,
  | "dim"
  | "denseFeatures"
  | "bottom"
  | "top"
  | "model"
  | "interaction"
  | "crossLayers"
  | "crossRank"
  | "pooling"
  | "dropout"
  | "optimizer"
  | "batchSize"
  | "hotMemory"
  | "precision"
  | "ranks"
  | "seed"
>;

/** Tables, lookups and expected hot rows of the data. */
interface Source {
  readonly name: string;
  readonly denseFeatures: number;
  /** Steps of a sample. */
  readonly steps: number;
  readonly tables: readonly { readonly name: string; readonly rows: number }[];
  /** Mean number of lookups of a sample. */
  readonly lookups: number;
  readonly bags: boolean;
  /** True if lookups have weights. */
  readonly weightedLookups?: boolean;
  /** Number of samples of the train split; undefined if there is no data yet. */
  readonly samples?: number;
  /** Rows by frequency of lookups. */
  readonly popularity: readonly PopularityClass[];
  /** The estimated coverage of the budget. */
  readonly covered: Coverage;
}

interface Coverage {
  readonly hotRows: readonly number[];
  readonly shares: readonly number[];
  readonly lookupShare: number;
  readonly sampleShare: number | null;
}

/**
 * Plans a run on a dataset, from its exact counts. `speed` is the measured speed of the model on this machine in
 * samples/s, if known, and `on` a machine to plan times for. Throws HotsetError if the model cannot be built.
 */
export async function planDataset(
  dataset: Dataset,
  config: PlanConfig,
  machine: Machine,
  speed?: number,
  on?: GpuMachine,
): Promise<TrainingPlan> {
  const { samples, lookups } = dataset.body.splits.train;
  expectDenseFeatures(config, dataset.denseFeatures, `plan for ${dataset.directory}`);
  const { covered, counts } = await coverDataset(dataset, config);
  return await inParts(planTraining(
    {
      name: dataset.directory,
      denseFeatures: dataset.denseFeatures,
      tables: dataset.body.tables,
      steps: dataset.steps,
      lookups: samples === 0 ? dataset.bagsOfSample : lookups / samples,
      bags: dataset.body.bags,
      weightedLookups: dataset.weightedLookups,
      samples,
      popularity: await countedPopularity(counts, samples),
      covered,
    },
    config,
    machine,
    speed,
    on,
  ));
}

/** Plans a run on a published data set, without data; otherwise like planDataset. */
export function planPublished(
  data: PublishedData,
  config: PlanConfig,
  machine: Machine,
  speed?: number,
  on?: GpuMachine,
): TrainingPlan {
  expectDenseFeatures(config, data.dense.length, `plan for ${data.source}`);
  return atOnce(planTraining(
    {
      name: data.source,
      denseFeatures: data.dense.length,
      tables: data.tables,
      steps: 1,
      lookups: data.tables.length,
      bags: false,
      popularity: publishedPopularity(data.tables),
      covered: coverPublished(data, config),
    },
    config,
    machine,
    speed,
    on,
  ));
}

/** Total and available memory of this machine, in bytes. */
export function thisMachine(): Machine {
  const { total, available } = Deno.systemMemoryInfo();
  return { total, available };
}

function* planTraining(
  source: Source,
  config: PlanConfig,
  machine: Machine,
  speed: number | undefined,
  on: GpuMachine | undefined,
): Parts<TrainingPlan> {
  const bytesPerRow = bytesPerRowOf(config);
  const { covered, popularity } = source;
  const stateWords = rowStateWords(config.optimizer, config.dim);
  const tables = source.tables.map(({ name, rows }, t): PlannedTable => ({
    name,
    rows,
    bytes: 4 * rows * config.dim,
    stateBytes: 4 * rows * stateWords,
    hotRows: covered.hotRows[t],
    lookupShare: covered.shares[t],
  }));
  const hotRows = covered.hotRows.reduce((sum, rows) => sum + rows, 0);
  const placements: TrainingPlan["placements"][number][] = [];
  for (const placement of placementsOf(source)) {
    yield;
    const plan = memoryOf(source, config, placement, hotRows);
    placements.push({ ...plan, fits: plan.host <= machine.available });
  }
  const { samples } = source;
  const { host, fits } = placements.find(({ mode }) => mode === "cpu")!;
  const budgets = tables.length === 0
    ? []
    : yield* planBudgets({ ...sizesOf(source, config), popularity, samples, host, speed });
  const fitting = fits ? undefined : budgets.find(({ host }) => host <= machine.available);
  return {
    event: "plan",
    source: source.name,
    rows: tables.reduce((sum, { rows }) => sum + rows, 0),
    tables,
    hotMemory: config.hotMemory,
    hotRows,
    hotBytes: hotRows * bytesPerRow,
    hotLookupShare: covered.lookupShare,
    hotSampleShare: covered.sampleShare,
    machine,
    placements,
    on: on === undefined
      ? null
      : { machine: on, times: yield* timesOn(source, config, covered, hotRows, popularity, on) },
    budgets,
    advice: [
      ...adviceFor(
        placements.filter(({ fits }) => !fits),
        (plan) => waysToFit(source, config, plan, hotRows, machine),
      ),
      ...(fitting === undefined ? [] : [
        `Mode cpu fits with --memory ${Math.round(100 * fitting.share)}%, which keeps all other rows on a disk.`,
      ]),
    ],
  };
}

function bytesPerRowOf({ dim, optimizer }: PlanConfig): number {
  return 4 * (dim + rowStateWords(optimizer, dim));
}

function memoryOf(source: Source, config: PlanConfig, placement: Placement, hotRows: number): MemoryPlan {
  const { ranks } = config;
  const byPlace = { cpu: ranks ?? navigator.hardwareConcurrency, devices: ranks ?? 1 };
  const cachedRows = cachedRowsOf(source, config);
  const sizes = { ...sizesOf(source, config), precision: cpuPrecision(config) };
  return planMemory({ ...sizes, hotRows, cachedRows, ranks: byPlace }, placement);
}

/** Rows on the device in mode cached. */
function cachedRowsOf({ tables }: Source, config: PlanConfig): number {
  const rows = tables.reduce((sum, table) => sum + table.rows, 0);
  return Math.min(rows, Math.floor(config.hotMemory / bytesPerRowOf(config)));
}

/** Times of the modes on a machine. */
function* timesOn(
  source: Source,
  config: PlanConfig,
  { sampleShare: hotSampleShare }: Coverage,
  hotRows: number,
  popularity: readonly PopularityClass[],
  machine: GpuMachine,
): Parts<PlannedTime[]> {
  const distinct = distinctRows(popularity, config.batchSize);
  const { samples } = source;
  const { batchSize } = config;
  const moved = yield* fetchedRows({ popularity, batchSize, samples }, cachedRowsOf(source, config));
  const fetched = moved.first + moved.again;
  const options = { ...sizesOf(source, config), hotRows, hotSampleShare, distinct, fetched, ranks: config.ranks };
  return placementsOf(source)
    .map((placement) => planTime(options, placement, machine));
}

/** The placements that can train on the data. */
function placementsOf({ tables }: Source): Placement[] {
  return PLACEMENTS.filter(({ mode }) => canTrain(mode, tables.length));
}

/** The model, and properties of its batches. */
function sizesOf(source: Source, config: PlanConfig): { model: ModelPlan; batchShape: BatchShape } {
  const { batchSize } = config;
  const { denseFeatures, steps, bags, weightedLookups, lookups } = source;
  const model = planModel(
    shapeOf(config, { denseFeatures, tableRows: source.tables.map(({ rows }) => rows), steps, bags }),
  );
  const sample = { denseFeatures: steps * denseFeatures, tables: steps * source.tables.length };
  const batchShape = averageBatch({ batchSize, ...sample, bags, weightedLookups, lookups });
  return { model, batchShape };
}

/** One sentence per set of placements that do not fit and would fit after the same changes. */
function adviceFor(plans: readonly MemoryPlan[], waysOf: (plan: MemoryPlan) => string[]): string[] {
  const groups = Map.groupBy(plans, (plan) => waysOf(plan).join(", or with "));
  return [...groups].map(([ways, plans]) => {
    const modes = plans.map(({ mode, onDevice, host }) =>
      `${mode}${onDevice ? " with a device" : ""} (${bytes(host)})`
    );
    const last = modes.pop();
    const which = modes.length === 0 ? `Mode ${last} does` : `Modes ${modes.join(", ")} and ${last} do`;
    const advice = ways !== ""
      ? `${modes.length === 0 ? "it" : "they"} would with ${ways}`
      : "no flag alone helps: prepare the data with --max-ind-range or a higher --min-frequency, so that tables have " +
        "fewer rows";
    return `${which} not fit; ${advice}.`;
  });
}

/** Each single change with which a placement would fit. */
function waysToFit(
  source: Source,
  config: PlanConfig,
  plan: MemoryPlan,
  hotRows: number,
  { available }: Machine,
): string[] {
  const fits = (changes: Partial<PlanConfig>, rows = hotRows) =>
    memoryOf(source, { ...config, ...changes }, plan, rows).host <= available;
  const ways: string[] = [];
  if (plan.mode === "fae" && !plan.onDevice) {
    const spare = config.hotMemory - (plan.host - available);
    if (spare > 0) ways.push(`--hot-memory ${Math.floor(spare / 2 ** 20)}MiB`);
  }
  for (const optimizer of ["rwsadagrad", "sgd"] as const) {
    if (optimizer !== config.optimizer && fits({ optimizer })) {
      ways.push(`--optimizer ${optimizer}`);
      break;
    }
  }
  for (let batchSize = config.batchSize / 2; batchSize >= 1; batchSize = Math.floor(batchSize / 2)) {
    if (!fits({ batchSize: Math.floor(batchSize) })) continue;
    ways.push(`--batch-size ${Math.floor(batchSize)}`);
    break;
  }
  for (let dim = config.dim / 2; dim >= 4; dim /= 2) {
    const bottom = [...config.bottom.slice(0, -1), dim];
    if (!Number.isInteger(dim) || !fits({ dim, bottom })) continue;
    ways.push(`--arch-sparse-feature-size ${dim} with a bottom MLP that ends in ${dim}`);
    break;
  }
  return ways;
}

function coverPublished({ tables, joint }: PublishedData, config: PlanConfig): Coverage {
  const budgetRows = Math.floor(config.hotMemory / bytesPerRowOf(config));
  const whole = wholeTables(tables, config.dim, budgetRows);
  const { hotRows, shares, lookupShare } = fillBudget(tables, whole, budgetRows);
  return { hotRows, shares, lookupShare, sampleShare: joint ? allHotShare(tables, shares) : null };
}

async function coverDataset(
  dataset: Dataset,
  config: PlanConfig,
): Promise<{ readonly covered: Coverage; readonly counts: Uint32Array }> {
  const { dim, hotMemory, seed } = config;
  const plan = await planHotRows(dataset, {
    dim,
    bytesPerRow: bytesPerRowOf(config),
    hotMemory,
    sampleRate: undefined,
    seed,
    onProgress: () => {},
  });
  const { rows: hotRows, lookups } = await plan.log.ofRows(await plan.rule.select());
  const share = (part: number, whole: number) => whole === 0 ? 0 : part / whole;
  const accesses = plan.log.tallies.map((tally) => tally.accesses);
  const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0);
  const covered = {
    hotRows,
    shares: lookups.map((part, t) => share(part, accesses[t])),
    lookupShare: share(sum(lookups), sum(accesses)),
    sampleShare: allHotSampleShare(await drawSamples(dataset, seed), plan.rule),
  };
  return { covered, counts: plan.log.counts };
}
