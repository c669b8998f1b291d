/** The memory that a training run takes, worked out before it: the sizes that src/ranks and src/model allocate. */
import { denseStateWords, rowStateWords } from "../optimizer/optimizers.ts";
import { batchSections, type BatchShape } from "../layout/batch.ts";
import type { ModelPlan } from "../model/shape.ts";
import type { TrainConfig } from "../config/config.ts";

/** What decides a run's memory. */
export interface MemoryOptions {
  readonly model: ModelPlan;
  readonly batchShape: BatchShape;
  /** Rows of the hot replica in mode fae. */
  readonly hotRows: number;
  readonly ranks: number;
}

/** A mode and what computes its MLPs. */
export interface Placement {
  /** Where rows and MLPs live. */
  readonly mode: TrainConfig["mode"];
  /** True if MLPs are computed on a device with memory of its own, by one rank. */
  readonly onDevice: boolean;
}

/** All placements there are. */
export const PLACEMENTS: readonly Placement[] = [
  { mode: "cpu", onDevice: false },
  { mode: "fae", onDevice: false },
  { mode: "hybrid", onDevice: true },
  { mode: "fae", onDevice: true },
  { mode: "gpu", onDevice: true },
];

/** One purpose that memory serves, in bytes. */
export interface MemoryPart {
  /** The purpose. */
  readonly name: string;
  /** Bytes of host memory. */
  readonly host: number;
  /** Bytes of the device's memory. */
  readonly device: number;
}

/** The memory of one placement, in bytes; the parts add up to the totals. */
export interface MemoryPlan extends Placement {
  /** Every purpose. */
  readonly parts: readonly MemoryPart[];
  /** Bytes of host memory. */
  readonly host: number;
  /** Bytes of the device's memory. */
  readonly device: number;
}

/** Batches in flight: as many blocks as the ranks have slots. */
const SLOTS = 4;
/** Measured on small runs: the process with its libraries and threads, and each worker beyond the first rank. */
const PROCESS_BYTES = 196 * 2 ** 20;
const WORKER_BYTES = 36 * 2 ** 20;
/** Bytes of the histogram that profiling keeps for each table, see profile/tally.ts. */
const TALLY_BYTES = 2 * 65_537 * 8;

/** Memory of a run in one placement. On a device there is one rank. */
export function planMemory(options: MemoryOptions, { mode, onDevice }: Placement): MemoryPlan {
  const { model, batchShape } = options;
  const { shape, denseWords, rows } = model;
  const { batchSize, tables } = batchShape;
  const ranks = onDevice ? 1 : Math.min(options.ranks, batchSize);
  const hotRows = mode === "fae" ? options.hotRows : 0;
  const stateWords = rowStateWords(shape.optimizer, shape.dim);
  const rowsOnDevice = mode === "gpu";
  const bagWords = batchSize * tables * shape.dim;
  const activations = 2 * batchSize * model.layers.reduce((sum, { output }) => sum + output.width, 0);
  const batchWords = batchSections(batchShape).capacity;

  const parts: MemoryPart[] = [];
  const add = (name: string, hostWords: number, deviceWords: number) => {
    parts.push({ name, host: 4 * (hostWords + (onDevice ? 0 : deviceWords)), device: onDevice ? 4 * deviceWords : 0 });
  };
  const addRows = (name: string, words: number) => add(name, rowsOnDevice ? 0 : words, rowsOnDevice ? words : 0);
  addRows("embedding tables", rows * shape.dim);
  addRows("their optimizer state", rows * stateWords);
  add("hot rows with their state", 0, hotRows * (shape.dim + stateWords));
  add("MLPs: parameters, state, gradients", 0, denseWords * (1 + ranks) + denseStateWords(shape.optimizer, denseWords));
  // Pooled rows and their gradients; once more on the host where rows are pooled there.
  const pooledOnHost = onDevice && !rowsOnDevice;
  add("activations and gradients", pooledOnHost ? 2 * bagWords : 0, activations + 2 * bagWords);
  add("batches in flight", SLOTS * (batchWords + batchSize), onDevice ? SLOTS * batchWords : 0);
  // Bits of changed rows; for hot rows their list, two lists of rows to move and a byte each.
  add("row lists", rows / 32 + hotRows * 3.25, 0);
  if (mode === "fae") add("profiling: counts of all rows", rows + tables * TALLY_BYTES / 4, 0);
  parts.push({ name: "the process", host: PROCESS_BYTES + (ranks - 1) * WORKER_BYTES, device: 0 });
  const sum = (where: "host" | "device") => Math.ceil(parts.reduce((total, part) => total + part[where], 0));
  return { mode, onDevice, parts, host: sum("host"), device: sum("device") };
}
