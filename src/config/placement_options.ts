/** Options of training: placement of rows and MLPs, device, ranks and memory. */
import type { CpuPrecision } from "../backend/backend.ts";
import { type MemoryBudget, memoryBudget, readBudget } from "./memory_budget.ts";
import { type CommandLine, oneOf, optionsIn, type OptionsOf, PLANNED, type RuleOn, whole } from "./option_types.ts";

/** Values of `blas` except `auto`. */
export const LIBRARIES = ["openblas", "onednn", "ort", "wasm"] as const;

/** The part of a configuration with the placement of rows and MLPs, device, ranks and memory; see `TrainConfig`. */
export interface PlacementConfig {
  /**
   * Placement of rows and MLPs: all on the CPU, rows on the host, all on the device, rows cached on the device, or hot rows
   * replicated (FAE). `auto` becomes one of them when a run begins: without a GPU cpu; with one gpu if everything fits in its
   * memory, otherwise cached, or fae under mpirun.
   */
  mode: "auto" | "cpu" | "hybrid" | "gpu" | "cached" | "fae";
  /** Device that computes. */
  device: "auto" | "cpu" | "cuda" | "emulated";
  /**
   * Library for matrix products on a CPU; auto is onednn for precision bf16 and with AVX-512, else the first available
   * of openblas, ort (ONNX Runtime) and wasm.
   */
  blas: "auto" | "openblas" | "onednn" | "ort" | "wasm";
  /** Precision of the operands of matrix products; tf32 on devices only. */
  precision: "fp32" | "tf32" | "bf16";
  /**
   * Implementation of activations on a device: a kernel after each product, cuDNN, or the product itself by cuBLASLt. `auto`
   * is cublaslt where it is installed, else ptx; the name of the device in the record of a run says which.
   */
  activations: "auto" | "ptx" | "cudnn" | "cublaslt";
  /** Number of workers; null for one per core. */
  ranks: number | null;
  /**
   * Memory budget of the run: rows beyond it are stored on disk, with the same results. Null to keep all rows in memory
   * if they fit. Modes cpu and cached on one host.
   */
  memory: MemoryBudget | null;
}

/** The precision on a CPU; tf32, which no CPU has, is refused elsewhere. */
export function cpuPrecision({ precision }: Pick<PlacementConfig, "precision">): CpuPrecision {
  return precision === "bf16" ? precision : "fp32";
}

/** True for a mode that computes on devices only. */
export function needsDevice(mode: PlacementConfig["mode"]): boolean {
  return mode === "gpu" || mode === "hybrid" || mode === "cached";
}

/** Returns why an option has no effect; undefined if it has one. */
type Rule = RuleOn<PlacementConfig>;

const collectiveOf = (line: CommandLine | undefined) => line?.values.collective;

/** For options about computing on a device. */
const onDeviceRule: Rule = ({ mode, device }, line) => {
  const why = "it applies to GPUs only";
  if (mode === "cpu") return `with --mode cpu: ${why}; choose --mode cached, fae, hybrid or gpu on --device cuda`;
  if (device === "cpu") return `with --device cpu: ${why}; choose --device cuda`;
  return collectiveOf(line) === "mpi" ? `with --collective mpi: ${why}; choose --collective nccl` : undefined;
};

/** For options about computing on a CPU. */
const onCpuRule: Rule = ({ blas, mode, device }, line) => {
  if (line?.given.has("--resume")) return undefined; // the run's first command decided it
  if (line?.command === "evaluate" || line?.command === "predict") return undefined; // always on the CPU
  if (blas === "auto" || mode === "cpu" || device === "cpu") return undefined; // auto is the same as no option
  if (device === "auto" && collectiveOf(line) === "mpi") return undefined;
  const why = "it applies to CPUs only";
  if (needsDevice(mode)) return `with --mode ${mode}: ${why}; leave it out`;
  return device === "auto"
    ? "with --device auto: that may be a GPU, where it has no effect; choose --device cpu"
    : `with --device ${device}: ${why}; choose --device cpu`;
};

/** A CPU has no tf32. */
const precisionRule: Rule = (config, line) => config.precision === "tf32" ? onDeviceRule(config, line) : undefined;

/** For options about computing on a device; `--device auto` may be a CPU. */
const activationsRule: Rule = (config, line) => {
  if (config.activations === "auto") return undefined; // the same as no option
  return onDeviceRule(config, line) ??
    (config.device === "auto" && line !== undefined && collectiveOf(line) !== "nccl"
      ? "with --device auto: that may be the CPU, where it has no effect; choose --device cuda"
      : undefined);
};

/** Modes cpu and cached store rows on disk. */
const memoryRule: Rule = ({ mode }, line) => {
  if (line?.given.has("--resume")) return undefined; // the run's first command decided it
  const way = "only modes cpu and cached store rows on disk; choose --mode cpu, or leave out --memory";
  if (mode !== "cpu" && mode !== "cached" && mode !== "auto") return `with --mode ${mode}: ${way}`;
  return collectiveOf(line) === "nccl" ? "with --collective nccl: only CPUs store rows on disk; choose mpi" : undefined;
};

/** With MPI, mpirun decides the number of ranks. */
const ranksRule: Rule = (_, line) => {
  const collective = collectiveOf(line);
  return collective === "mpi" || collective === "nccl"
    ? `with --collective ${collective}: mpirun sets the number of ranks`
    : undefined;
};

/** Commands that compute with a trained model, always on the CPU. */
const SCORING = ["evaluate", "predict"];

const option = optionsIn<PlacementConfig>("Where to compute:");

/** The options, by their keys in a configuration. */
export const PLACEMENT_OPTIONS: OptionsOf<PlacementConfig> = {
  mode: option("--mode <name>", "placement of embedding rows and MLPs", {
    type: oneOf(["auto", "cpu", "hybrid", "gpu", "cached", "fae"]),
    default: "auto",
    shown: "auto: the fastest for which there is memory",
  }),
  device: option("--device <name>", "device that computes", {
    type: oneOf(["auto", "cpu", "cuda", "emulated"]),
    default: "auto",
    free: true,
  }),
  blas: option("--blas <name>", "library for matrix products on a CPU; ort is ONNX Runtime", {
    type: oneOf(["auto", ...LIBRARIES]),
    default: "auto",
    before: "auto",
    commands: ["train", "import", ...SCORING],
    rules: [onCpuRule],
    resumes: true,
    free: true,
  }),
  precision: option("--precision <name>", "precision of matrix products; tf32 on devices only", {
    type: oneOf(["fp32", "tf32", "bf16"]),
    default: "fp32",
    commands: [...PLANNED, ...SCORING],
    rules: [precisionRule],
  }),
  activations: option("--activations <name>", "implementation of activations on a device", {
    type: oneOf(["auto", "ptx", "cudnn", "cublaslt"]),
    default: "auto",
    shown: "auto: cublaslt if it is installed, else ptx",
    rules: [activationsRule],
  }),
  ranks: option("--ranks <n>", "number of ranks: CPU workers or GPUs", {
    type: whole(1, 256).nullable(),
    default: null,
    shown: "one per core, or one GPU",
    commands: PLANNED,
    rules: [ranksRule],
    resumes: true,
    free: true,
  }),
  memory: option(
    "--memory <size>",
    "memory of the process (6GiB), or of its tables (25%); other rows are stored on disk",
    {
      type: memoryBudget.nullable(),
      read: readBudget,
      impliedMode: "cpu",
      default: null,
      before: null,
      shown: "all in memory if they fit, else what is available",
      commands: ["train", ...SCORING],
      rules: [memoryRule],
      resumes: true,
      free: true,
    },
  ),
};
