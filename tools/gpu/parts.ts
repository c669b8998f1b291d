/** The parts of the first run on a GPU, the most informative first. */
import { join } from "node:path";
import type { Part } from "./run_part.ts";

/** What the parts are made for. */
export interface PartOptions {
  readonly device: "cuda" | "emulated";
  /** True for a rehearsal in tiny sizes, which the emulated device always is. */
  readonly tiny?: boolean | undefined;
  /** A folder for data, absolute. */
  readonly work: string;
  /** True keeps Deno to its cache. */
  readonly offline?: boolean;
}

/** Tests that mean more on a GPU than on the emulated device, or that need NVIDIA's libraries. */
const TESTS = [
  "tests/backend/cuda_conformance_slow_test.ts",
  "tests/backend/cuda_operations_test.ts",
  "tests/backend/cuda_backend_test.ts",
  "tests/backend/cuda_training_slow_test.ts",
  "tests/backend/cuda_uploads_test.ts",
  "tests/ranks/pinned_slots_test.ts",
  "tests/ffi/cuda_libraries_test.ts",
  "tests/backend/cuda_communicator_test.ts",
];

/** All parts. Those that take longest come last. */
export function partsOf({ device, tiny = device === "emulated", work, offline = false }: PartOptions): Part[] {
  const root = new URL("../..", import.meta.url);
  const path = (file: string) => new URL(file, root).pathname;
  const deno = (command: "run" | "test", ...args: string[]) => {
    const flags = ["-A", "--no-check", ...offline ? ["--cached-only"] : []];
    return [Deno.execPath(), command, "--config", path("deno.json"), ...flags, ...args];
  };
  const batchSizes = (sizes: string) => ["--batch-sizes", ...tiny ? ["8", "--tiny"] : [sizes]];
  const data = join(work, "steps"), peers = join(work, "peers");
  return [
    {
      name: "machine",
      text: "The GPU, its driver, and the libraries that were found.",
      limit: 60,
      command: deno("run", path("cli.ts"), "doctor", "--json"),
    },
    {
      name: "card",
      text: "What the driver says of the GPU before anything ran.",
      limit: 30,
      command: [
        "nvidia-smi",
        "--query-gpu=name,driver_version,memory.total,clocks.sm,clocks.max.sm,clocks.max.mem,power.limit,temperature.gpu",
        "--format=csv",
      ],
    },
    {
      name: "tests",
      text:
        "Every operation against the reference, the losses of training in three modes by three optimizers against the " +
        "CPU's, and batches that are copied from their slots.",
      limit: 180,
      command: deno("test", ...(tiny ? TESTS.slice(-1) : TESTS).map(path)),
      environment: { HOTSET_TEST_DEVICE: device },
    },
    {
      name: "demo",
      text: "The demonstration by the command line: mode cpu on the CPU, then hot rows on the device.",
      limit: 120,
      skip: tiny ? "it is too large for a rehearsal" : undefined,
      command: deno(
        "run",
        path("cli.ts"),
        "train",
        "--demo",
        "--device",
        device,
        "--json",
        "--out",
        join(work, "demo"),
      ),
    },
    {
      name: "kernels",
      text:
        "Each kernel and each matrix product of a step, alone, with its share of the limit that a large copy and a " +
        "large matrix product set. At small batches operands stay in the cache, which can exceed the rate of memory.",
      limit: 120,
      command: deno("run", path("bench/cuda_bench.ts"), "--device", device, "--json", ...batchSizes("2048,65536")),
    },
    {
      name: "steps",
      text:
        "A whole step: on the device alone, with its batch in host memory, and read from the layout as in training.",
      limit: 240,
      command: deno(
        "run",
        path("bench/cuda_steps.ts"),
        ...["--device", device, "--json", ...batchSizes("128,2048,65536"), "--folder", data, "--peer-batches", peers],
      ),
    },
    {
      name: "pytorch",
      text: "The same model in PyTorch over the same batches, from pinned host memory.",
      limit: 90,
      command: [
        "python3",
        path("bench/peers/dlrm_pytorch_cuda.py"),
        ...["--data", peers, "--ways", "eager,fused,graph", "--device", tiny ? "cpu" : "cuda"],
        ...tiny ? ["--seconds", "0"] : [],
      ],
    },
    {
      name: "compile",
      text: "The same through torch.compile.",
      limit: 90,
      command: [
        "python3",
        path("bench/peers/dlrm_pytorch_cuda.py"),
        ...["--data", peers, "--ways", "compile", "--device", tiny ? "cpu" : "cuda"],
        ...tiny ? ["--seconds", "0"] : [],
      ],
    },
    {
      name: "epilogue",
      text: "Products of the layers through PyTorch: bias and ReLU as their last step, and 368 inputs instead of 367.",
      limit: 60,
      skip: tiny ? "it needs a GPU" : undefined,
      command: ["python3", path("bench/peers/epilogue_pytorch.py")],
    },
    {
      name: "nsys",
      text: "Where the time of steps in mode gpu goes, by NVIDIA's profiler.",
      limit: 120,
      command: [
        ...["nsys", "profile", "--stats=true", "--force-overwrite=true", "--output", join(work, "nsys")],
        ...deno("run", path("bench/cuda_steps.ts"), "--device", device, ...batchSizes("2048"), "--folder", data),
      ],
    },
  ];
}
