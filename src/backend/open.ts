/** Chooses and opens backends. The only file that imports a backend's folder; what is not chosen is not evaluated. */
import type { DeviceBackend, HostBackend, PagedBackend } from "./backend.ts";
import type { KernelMemory } from "./cpu/kernel_memory.ts";

/** What multiplies matrices on the CPU: OpenBLAS if it is found, or one of the two. */
export type Gemm = "auto" | "openblas" | "wasm";

/** How to open a CPU backend. */
export interface CpuOptions {
  readonly kind: "cpu";
  readonly gemm: Gemm;
  readonly kernelMemory: KernelMemory;
}

/** How to open a host backend. Can be posted to a worker, whose backend then works in the same memory. */
export type HostOptions = { readonly kind: "reference" } | CpuOptions;

/** Options of a CPU backend with kernel memory of its own. */
export async function cpuOptions(gemm: Gemm): Promise<CpuOptions> {
  const { newKernelMemory } = await import("./cpu/kernel_memory.ts");
  return { kind: "cpu", gemm, kernelMemory: newKernelMemory() };
}

/**
 * Opens a backend over host memory. With gemm "openblas" throws LibraryError where OpenBLAS is not found; with "auto"
 * the kernels multiply then.
 */
export async function openHost(options: CpuOptions): Promise<PagedBackend>;
export async function openHost(options: HostOptions): Promise<HostBackend>;
export async function openHost(options: HostOptions): Promise<HostBackend> {
  if (options.kind === "reference") return new (await import("./reference/reference.ts")).ReferenceBackend();
  const { CpuBackend } = await import("./cpu/cpu.ts");
  return new CpuBackend(options.kernelMemory, await openGemm(options.gemm));
}

/** How a device is to compute: precision of matrix products, and what runs the activations of the MLPs. */
export interface DeviceOptions {
  readonly device: "cuda" | "emulated";
  readonly precision: "fp32" | "tf32" | "bf16";
  readonly activations: "ptx" | "cudnn";
  /** Which of several; the first unless given. */
  readonly ordinal?: number;
}

/** Opens a GPU, or the emulated one. Throws HotsetError that says what is missing and what to do. */
export async function openDevice(options: DeviceOptions): Promise<DeviceBackend> {
  return (await import("./cuda/open.ts")).openCuda(options);
}

/** What CUDA offers on this machine. */
export async function deviceFindings(): Promise<{ name: string; found: boolean; detail: string }[]> {
  return (await import("./cuda/findings.ts")).cudaFindings();
}

async function openGemm(gemm: Gemm) {
  if (gemm === "wasm") return undefined;
  const { openOpenBlas } = await import("../../ffi/openblas.ts");
  const { LibraryError } = await import("../../ffi/library.ts");
  try {
    return openOpenBlas();
  } catch (error) {
    if (gemm === "auto" && error instanceof LibraryError) return undefined;
    throw error;
  }
}
