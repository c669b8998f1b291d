/** OpenBLAS: single-precision matrix products on the CPU. */
import { declare } from "./declare.ts";
import { checkMatrices, type Gemm } from "./gemm.ts";
import { homebrewFolders, openLibrary } from "./library.ts";

const symbols = declare({
  cblas_sgemm: [
    "void",
    "i32 order",
    "i32 transA",
    "i32 transB",
    "i32 m",
    "i32 n",
    "i32 k",
    "f32 alpha",
    "buffer a",
    "i32 lda",
    "buffer b",
    "i32 ldb",
    "f32 beta",
    "buffer c",
    "i32 ldc",
  ],
  openblas_set_num_threads: ["void", "i32 num_threads"],
  openblas_get_config: ["pointer"], // char *
});

const ROW_MAJOR = 101;
const NO_TRANSPOSE = 111;
const TRANSPOSE = 112;

/** An opened OpenBLAS. Its version includes the processor whose kernels it selected. */
export interface OpenBlas extends Gemm {
  /** Path of the library. */
  readonly path: string;
}

/**
 * OpenBLAS selects kernels by the processor's model. For models newer than itself it selects kernels without AVX-512.
 */
const CORE_VARIABLE = "OPENBLAS_CORETYPE";
const AVX512_CORES = ["SkylakeX", "Cooperlake", "SapphireRapids"];
const AVX512_FLAGS = ["avx512f", "avx512dq", "avx512bw", "avx512vl"];

/**
 * Makes OpenBLAS use its AVX-512 kernels if the processor supports them, unless the user has set the variable. Returns
 * a note if the user's choice prevents AVX-512.
 */
function chooseCore(): string {
  if (Deno.build.arch !== "x86_64" || !processorHas(AVX512_FLAGS)) return "";
  const chosen = Deno.env.get(CORE_VARIABLE);
  if (chosen === undefined) Deno.env.set(CORE_VARIABLE, AVX512_CORES[0]);
  else if (!AVX512_CORES.some((core) => core.toLowerCase() === chosen.toLowerCase())) {
    return `; slower than this processor allows, because ${CORE_VARIABLE}=${chosen} is set`;
  }
  return "";
}

function processorHas(wanted: readonly string[]): boolean {
  try {
    const flags = /^flags\s*:(.*)$/m.exec(Deno.readTextFileSync("/proc/cpuinfo"))?.[1].split(" ") ?? [];
    return wanted.every((flag) => flags.includes(flag));
  } catch {
    return false; // not Linux, or no permission to read: OpenBLAS decides
  }
}

/** Opens OpenBLAS. Throws LibraryError that lists every attempt and how to install it. */
export function openOpenBlas(): OpenBlas {
  const advice = chooseCore(); // the variable is read when the library is loaded
  const { path, symbols: blas } = openLibrary({
    name: "OpenBLAS",
    environment: "HOTSET_OPENBLAS",
    names: ["libopenblas.so.0", "libopenblas.so", "libopenblas.0.dylib", "libopenblas.dylib"],
    folders: ["/usr/lib64", "/usr/local/lib", ...homebrewFolders("openblas")],
    symbols,
    install: "apt-get install libopenblas0-pthread (Debian, Ubuntu), dnf install openblas, or brew install openblas",
  });
  const { cblas_sgemm, openblas_set_num_threads } = blas;
  openblas_set_num_threads(1);
  return {
    path,
    version: text(blas.openblas_get_config()).trim() + advice,
    adds: true,
    gemm(transposeA, transposeB, m, n, k, a, b, c, add = false) {
      checkMatrices(m, n, k, a, b, c);
      const opA = transposeA ? TRANSPOSE : NO_TRANSPOSE;
      const opB = transposeB ? TRANSPOSE : NO_TRANSPOSE;
      const lda = transposeA ? m : k;
      const ldb = transposeB ? k : n;
      cblas_sgemm(ROW_MAJOR, opA, opB, m, n, k, 1, a, lda, b, ldb, add ? 1 : 0, c, n);
    },
  };
}

function text(pointer: Deno.PointerValue): string {
  return pointer === null ? "" : Deno.UnsafePointerView.getCString(pointer);
}
