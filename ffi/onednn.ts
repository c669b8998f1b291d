/** oneDNN: matrix products on the CPU, in single precision and bf16. */
import { declare, definitionOf, optional } from "./declare.ts";
import { type Bf16Gemm, checkMatrices, type Gemm } from "./gemm.ts";
import { homebrewFolders, LibraryError, openLibrary } from "./library.ts";
import { bindManyTo, OneDnnMatmul } from "./onednn_matmul.ts";
import { OneDnnPackedWeights } from "./onednn_packed.ts";
import { OneDnnPrimitives, PRIMITIVE_SYMBOLS } from "./onednn_primitives.ts";
import { OneDnnRounding } from "./onednn_rounding.ts";

/**
 * Row-major like all of oneDNN. Sizes and leading dimensions are dnnl_dim_t, which has 64 bits; A and B are float or
 * bfloat16_t. Returns a dnnl_status_t.
 */
const GEMM = definitionOf([
  "i32",
  "u8 transa",
  "u8 transb",
  "isize M",
  "isize N",
  "isize K",
  "f32 alpha",
  "buffer A",
  "isize lda",
  "buffer B",
  "isize ldb",
  "f32 beta",
  "buffer C",
  "isize ldc",
]);

const symbols = declare({
  dnnl_version: ["pointer"], // const dnnl_version_t *
  dnnl_get_effective_cpu_isa: ["i32"], // dnnl_cpu_isa_t
  dnnl_sgemm: GEMM,
  dnnl_gemm_bf16bf16f32: { ...GEMM, optional: true }, // exported, but not declared in the header
  // Belongs to the OpenMP library that oneDNN uses. Sets the number of threads of the calling thread.
  ...optional(declare({ omp_set_num_threads: ["void", "i32 num_threads"] })),
  ...PRIMITIVE_SYMBOLS,
});

type Multiply = Deno.StaticForeignSymbol<typeof GEMM>;

/** Byte offsets of the members of dnnl_version_t. */
const VERSION = { major: 0, minor: 4, patch: 8, cpuRuntime: 24 };
/** DNNL_RUNTIME_SEQ and DNNL_RUNTIME_OMP: the runtimes that can compute without threads of their own. */
const SEQUENTIAL = 1;
const OPENMP = 2;
/** Bits of dnnl_cpu_isa_t, best first. */
const BF16 = 0x80;
const AVX512 = 0x20;
const INSTRUCTIONS = [[0x200, "AMX"], [BF16, "AVX512_BF16"], [AVX512, "AVX-512"], [0x04, "AVX2"]] as const;

const NO_TRANSPOSE = "N".charCodeAt(0);
const TRANSPOSE = "T".charCodeAt(0);

const INSTALL = "apt-get install libdnnl2 (Debian), libdnnl3 (Ubuntu), dnf install onednn, or brew install onednn";

/** An opened oneDNN. */
export interface OneDnn extends Gemm {
  /** True if it computes with 512-bit vectors. */
  readonly avx512: boolean;
}

/** Opens oneDNN. Throws LibraryError that lists every attempt and how to install it. */
export function openOneDnn(): OneDnn {
  const { library, version, isa } = opened ??= open();
  const avx512 = (isa & AVX512) !== 0;
  const primitives = avx512 ? OneDnnPrimitives.open(library) : undefined; // others have no kernels of their own for these
  const bindMany = primitives && bindManyTo(primitives);
  return {
    version,
    adds: true,
    avx512,
    bindMany,
    packed: packedBy(primitives, "fp32"),
    gemm: gemmBy(library.dnnl_sgemm),
  };
}

/**
 * Opens oneDNN for products of bf16 matrices (the upper halves of single-precision words) with sums in single
 * precision. Throws LibraryError if it is not found or the processor has no bf16 instructions.
 */
export function openOneDnnBf16(): Bf16Gemm {
  const { library, version, path, isa } = opened ??= open();
  const multiply = library.dnnl_gemm_bf16bf16f32;
  if (multiply === null) throw new LibraryError(`Cannot multiply in bf16: ${path} (${version}) cannot`, []);
  if ((isa & BF16) === 0) {
    throw new LibraryError(
      `Cannot multiply in bf16: it takes a processor with AVX512_BF16 or AMX, and ${version} found neither`,
      [],
    );
  }
  const primitives = OneDnnPrimitives.open(library);
  const rounding = primitives && new OneDnnRounding(primitives);
  const matmul = primitives && new OneDnnMatmul(primitives);
  const gemm = gemmBy<Uint16Array>(multiply);
  return {
    version: `${version}, bf16`,
    adds: true,
    rounding,
    packed: packedBy(primitives, "bf16"),
    expect: (samples) => matmul?.expect(samples),
    gemm(transposeA, transposeB, m, n, k, a, b, c, add = false) {
      checkMatrices(m, n, k, a, b, c);
      if (matmul?.multiply(transposeA, transposeB, m, n, k, a, b, c, add)) return;
      gemm(transposeA, transposeB, m, n, k, a, b, c, add);
    },
  };
}

/** What this thread has opened: a run that chooses the library opens it again to compute. */
let opened: ReturnType<typeof open> | undefined;

function open() {
  const { path, symbols: library } = openLibrary({
    name: "oneDNN",
    environment: "HOTSET_ONEDNN",
    names: ["libdnnl.so.3", "libdnnl.so.2", "libdnnl.so", "libdnnl.3.dylib", "libdnnl.dylib"],
    folders: ["/usr/lib64", "/usr/local/lib", ...homebrewFolders("onednn")],
    symbols,
    install: INSTALL,
  });
  const view = new Deno.UnsafePointerView(library.dnnl_version()!);
  const numbers = [VERSION.major, VERSION.minor, VERSION.patch].map((offset) => view.getInt32(offset));
  const isa = library.dnnl_get_effective_cpu_isa();
  const instructions = INSTRUCTIONS.find(([bit]) => (isa & bit) !== 0)?.[1];
  const version = `oneDNN ${numbers.join(".")}${instructions === undefined ? "" : ` ${instructions}`}`;
  const runtime = view.getUint32(VERSION.cpuRuntime);
  if (runtime === OPENMP && library.omp_set_num_threads !== null) library.omp_set_num_threads(1);
  else if (runtime !== SEQUENTIAL) {
    throw new LibraryError(
      `Cannot use ${path}: this ${version} starts its own threads; install one built for OpenMP: ${INSTALL}`,
      [],
    );
  }
  return { library, path, version, isa };
}

function packedBy<Matrix extends Float32Array | Uint16Array>(
  primitives: OneDnnPrimitives | undefined,
  type: "fp32" | "bf16",
): Gemm<Matrix>["packed"] {
  return primitives && ((m, n, k) => new OneDnnPackedWeights(primitives, type, m, n, k));
}

function gemmBy<Matrix extends Float32Array | Uint16Array>(multiply: Multiply): Gemm<Matrix>["gemm"] {
  return (transposeA, transposeB, m, n, k, a, b, c, add = false) => {
    checkMatrices(m, n, k, a, b, c);
    const opA = transposeA ? TRANSPOSE : NO_TRANSPOSE;
    const opB = transposeB ? TRANSPOSE : NO_TRANSPOSE;
    const M = wide(m), N = wide(n), K = wide(k);
    const status = multiply(opA, opB, M, N, K, 1, a, transposeA ? M : K, b, transposeB ? K : N, add ? 1 : 0, c, N);
    if (status !== 0) throw new Error(`oneDNN failed: status ${status} of a product (${m}, ${n}, ${k})`);
  };
}

/** Sizes as BigInt for foreign calls, cached because creating one allocates memory. */
const sizes = new Map<number, bigint>();

function wide(size: number): bigint {
  let found = sizes.get(size);
  if (found === undefined) sizes.set(size, found = BigInt(size));
  return found;
}
