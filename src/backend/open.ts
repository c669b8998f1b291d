/** Chooses and opens backends. Only this file imports a backend's folder, and only when that backend is chosen. */
import type { BlasName, CpuPrecision, DeviceBackend, HostBackend, PagedBackend } from "./backend.ts";
import { HotsetError } from "../errors.ts";
import { startWorker } from "../threads/start_worker.ts";
import type { KernelMemory } from "./cpu/kernel_memory.ts";
import type { Library } from "./cpu/products.ts";

export { DEVICE_OVERHEAD } from "./cuda/sizes.ts";

/**
 * Library of matrix products on the CPU: the WASM kernels, OpenBLAS, oneDNN or ONNX Runtime. `auto` chooses the first
 * that is available of oneDNN (only on a processor with AVX-512), OpenBLAS, ONNX Runtime and the kernels;
 * docs/performance.md has the measurements. Only oneDNN supports bf16.
 */
export type Blas = "auto" | BlasName;

/** Options of a CPU backend. */
export interface CpuOptions {
  readonly kind: "cpu";
  readonly blas: BlasName;
  readonly precision: CpuPrecision;
  readonly kernelMemory: KernelMemory;
}

/** Options of a host backend. They can be posted to a worker, whose backend then uses the same memory. */
export type HostOptions = { readonly kind: "reference" } | CpuOptions;

/** Creates options of a CPU backend with new kernel memory; see `chooseBlas`. */
export async function cpuOptions(
  blas: Blas,
  precision: CpuPrecision = "fp32",
  say?: (text: string) => void,
): Promise<CpuOptions> {
  const { newKernelMemory } = await import("./cpu/kernel_memory.ts");
  return { kind: "cpu", blas: await chooseBlas(blas, precision, say), precision, kernelMemory: newKernelMemory() };
}

/**
 * Opens a backend over host memory. Throws HotsetError if its library of matrix products is not found. A worker that
 * calls this must end by closing itself, because ONNX Runtime crashes when its worker is terminated.
 */
export async function openHost(options: CpuOptions): Promise<PagedBackend>;
export async function openHost(options: HostOptions): Promise<HostBackend>;
export async function openHost(options: HostOptions): Promise<HostBackend> {
  if (options.kind === "reference") return new (await import("./reference/reference.ts")).ReferenceBackend();
  const { CpuBackend } = await import("./cpu/cpu.ts");
  return new CpuBackend(options.kernelMemory, options.blas, await openLibrary(options));
}

/** Options of a device: precision of matrix products, and what computes the MLPs' activations. */
export interface DeviceOptions {
  readonly device: "cuda" | "emulated";
  readonly precision: "fp32" | "tf32" | "bf16";
  readonly activations: "auto" | "ptx" | "cudnn" | "cublaslt";
  /** Number of the device, from 0; default 0. */
  readonly ordinal?: number;
}

/** Opens a GPU, or the emulated device. Throws HotsetError that says what is missing and what to do. */
export async function openDevice(options: DeviceOptions): Promise<DeviceBackend> {
  return (await import("./cuda/open.ts")).openCuda(options);
}

/** The CUDA libraries and devices of this machine. */
export async function deviceFindings(): Promise<{ name: string; found: boolean; detail: string }[]> {
  const worker = await startWorker(new URL("./cuda/findings_worker.ts", import.meta.url), "findings");
  return await new Promise((resolve, reject) => {
    worker.onmessage = ({ data }) => resolve(data);
    worker.onerror = (event) => {
      event.preventDefault();
      reject(new Error(event.message));
    };
    worker.postMessage(null);
  });
}

/**
 * Opens a library of matrix products; undefined for the WASM kernels. Throws HotsetError that says how to install it.
 */
async function openLibrary({ blas, precision }: Pick<CpuOptions, "blas" | "precision">): Promise<Library | undefined> {
  try {
    if (precision === "bf16") {
      if (blas !== "onednn") {
        throw new HotsetError(`Cannot multiply in bf16 with ${blas}: choose --blas onednn, or --precision fp32`);
      }
      const { openOneDnn, openOneDnnBf16 } = await import("../../ffi/onednn.ts");
      return { precision, gemm: openOneDnnBf16(), narrow: openOneDnn() };
    }
    if (blas === "wasm") return undefined;
    if (blas === "openblas") return { precision, gemm: (await import("../../ffi/openblas.ts")).openOpenBlas() };
    if (blas === "onednn") return { precision, gemm: (await import("../../ffi/onednn.ts")).openOneDnn() };
    return { precision, gemm: (await import("../../ffi/onnxruntime.ts")).openOnnxRuntime() };
  } catch (error) {
    const { LibraryError } = await import("../../ffi/library.ts");
    if (!(error instanceof LibraryError)) throw error;
    const advice = precision === "bf16" ? "; --precision fp32 does not need it" : "";
    throw new HotsetError(`${error.message}${advice}`, { cause: error });
  }
}

/** True if oneDNN is installed and uses AVX-512. */
async function hasFastOneDnn(): Promise<boolean> {
  const [{ openOneDnn }, { LibraryError }] = [
    await import("../../ffi/onednn.ts"),
    await import("../../ffi/library.ts"),
  ];
  try {
    return openOneDnn().avx512;
  } catch (error) {
    if (error instanceof LibraryError) return false;
    throw error;
  }
}

/** The reason, in one line, why a library cannot be opened; undefined if it can. */
async function whyMissing(blas: "openblas" | "ort"): Promise<string | undefined> {
  try {
    await openLibrary({ blas, precision: "fp32" });
    return undefined;
  } catch (error) {
    if (error instanceof HotsetError) return error.message.split("\n")[0];
    throw error;
  }
}

/**
 * Resolves `auto`. With `say`, downloads ONNX Runtime if it is chosen and missing; `say` receives notes about the
 * download and about a slower fallback. Throws HotsetError if the requested library is not available.
 */
export async function chooseBlas(
  blas: Blas,
  precision: CpuPrecision,
  say?: (text: string) => void,
): Promise<BlasName> {
  const named = blas === "auto" && precision === "bf16" ? "onednn" : blas;
  if (named === "ort" || named === "auto") {
    if (named === "auto") {
      if (await hasFastOneDnn()) return "onednn";
      if (await whyMissing("openblas") === undefined) return "openblas";
    }
    const missing = await fetchMissing(say);
    if (missing === undefined) return "ort";
    if (named === "auto") {
      say?.(
        `Using WASM kernels for matrix products, slower than a library: ${missing} (doctor says how to install one)`,
      );
      return "wasm";
    }
  }
  await openLibrary({ blas: named, precision });
  return named;
}

/** Downloads ONNX Runtime if it is missing and `say` is given. Returns the reason for a failure, or undefined. */
async function fetchMissing(say?: (text: string) => void): Promise<string | undefined> {
  const reason = await whyMissing("ort");
  const { fetchOnnxRuntime, mayFetchOnnxRuntime, ONNX_RUNTIME_DOWNLOAD } = await import("../../ffi/onnxruntime.ts");
  if (reason === undefined || say === undefined || !mayFetchOnnxRuntime()) return reason;
  say(`Downloading ONNX Runtime for fast matrix products, once: ${ONNX_RUNTIME_DOWNLOAD} (--blas wasm avoids it)`);
  const failure = await fetchOnnxRuntime();
  const still = await whyMissing("ort");
  return still && (failure ?? still);
}
