/**
 * The declared functions and constants agree with the real libraries and headers, if present: a CUDA toolkit, or the
 * wheels of `pip install --target DIR nvidia-cublas nvidia-cuda-runtime nvidia-cudnn-cu13 nvidia-nccl-cu13` with
 * HOTSET_SITE_PACKAGES=DIR.
 */
import assert from "node:assert/strict";
import { checkedCublas, cublasSymbols, openCublas } from "../../ffi/cublas.ts";
import { BlasLt, checkedCublasLt, cublasLtSymbols, openCublasLt } from "../../ffi/cublas_lt.ts";
import { cudaFolders } from "../../ffi/cuda_folders.ts";
import { cudaSymbols, openCuda } from "../../ffi/cuda.ts";
import { checkedCudart, cudartSymbols, openCudart } from "../../ffi/cudart.ts";
import { checkedCudnn, cudnnSymbols, openCudnn } from "../../ffi/cudnn.ts";
import { checkedNccl, ncclSymbols, openNccl, UNIQUE_ID_BYTES } from "../../ffi/nccl.ts";
import { CudaError } from "../../ffi/cuda_error.ts";
import { LibraryError } from "../../ffi/library.ts";

const WHEELS = "set HOTSET_SITE_PACKAGES to a folder with NVIDIA's wheels";

/** Opens a library, or says that it is not on this machine. A library that lacks a symbol fails the test instead. */
function opened<T>(open: () => T): T | undefined {
  try {
    return open();
  } catch (error) {
    if (!(error instanceof LibraryError)) throw error;
    const lacking = error.tries.find((line) => /symbol/.test(line));
    assert.equal(lacking, undefined);
    return undefined;
  }
}

function testWith<T>(library: T | undefined, name: string, body: (library: T) => void): void {
  const ignore = library === undefined;
  Deno.test(ignore ? `${name} (skipped: ${WHEELS})` : name, { ignore }, () => body(library!));
}

const cudart = opened(openCudart), cublas = opened(() => openCublas(13)), cudnn = opened(openCudnn);
const cublasLt = opened(() => openCublasLt(13));
const nccl = opened(openNccl);
const hasDriver = opened(openCuda) !== undefined;

testWith(cudart, "libcudart has every declared symbol and answers with its own errors", ({ symbols }) => {
  const runtime = checkedCudart(symbols);
  const version = new Int32Array(1);
  runtime.cudaRuntimeGetVersion(version);
  assert.ok(version[0] >= 11000);
  if (hasDriver) return;
  assert.throws(() => runtime.cudaGetDeviceCount(new Int32Array(1)), (error: unknown) => {
    assert.ok(error instanceof CudaError);
    assert.deepEqual([error.code, error.codeName], [35, "cudaErrorInsufficientDriver"]);
    return true;
  });
});

testWith(cublas, "libcublas has every declared symbol and answers with its own errors", ({ symbols }) => {
  const blas = checkedCublas(symbols);
  const major = new Int32Array(1);
  blas.cublasGetProperty(0, major);
  assert.ok(major[0] >= 11);
  if (hasDriver) return;
  assert.throws(
    () => blas.cublasCreate_v2(new BigUint64Array(1)),
    /cublasCreate_v2: CUBLAS_STATUS_NOT_INITIALIZED \(1\)/,
  );
});

testWith(cublasLt, "libcublasLt has every declared symbol and answers with its own errors", ({ symbols }) => {
  const lt = checkedCublasLt(symbols);
  const major = new Int32Array(1);
  lt.cublasLtGetProperty(0, major);
  assert.ok(major[0] >= 11);
  assert.throws(
    () => lt.cublasLtMatrixLayoutCreate(null, 0, 1n, 1n, 1n),
    /cublasLtMatrixLayoutCreate: CUBLAS_STATUS_INVALID_VALUE \(7\)/,
  );
});

testWith(cudnn, "libcudnn has every declared symbol and answers with its own errors", ({ symbols }) => {
  assert.ok(symbols.cudnnGetVersion() >= 8000n);
  if (hasDriver) return;
  assert.throws(
    () => checkedCudnn(symbols).cudnnCreate(new BigUint64Array(1)),
    /CUDNN_STATUS_NOT_INITIALIZED \(1001\)/,
  );
});

testWith(
  nccl,
  "libnccl has every declared symbol, takes an id by value and answers with its own errors",
  ({ symbols }) => {
    const calls = checkedNccl(symbols);
    const version = new Int32Array(1);
    calls.ncclGetVersion(version);
    assert.ok(version[0] >= 20900, "NCCL can be captured in a graph from 2.9 on");
    const id = new Uint8Array(UNIQUE_ID_BYTES);
    assert.throws(
      () => calls.ncclCommInitRank(new BigUint64Array(1), 2, id, 2),
      /ncclCommInitRank: nccl(InvalidArgument \(4\)|UnhandledCudaError \(1\))/,
    );
    if (hasDriver) return;
    calls.ncclGetUniqueId(id);
    assert.ok(id.some((byte) => byte !== 0));
    assert.throws(
      () => calls.ncclCommInitRank(new BigUint64Array(1), 1, id, 0),
      /ncclCommInitRank: ncclUnhandledCudaError \(1\), unhandled cuda error .*: .*driver/i,
    );
  },
);

testWith(findHeader("cublasLt.h"), "the constants of ffi/cublas_lt.ts are those of cublasLt.h", (header) => {
  const valueOf = (name: string) => Number(new RegExp(`\\bCUBLASLT_${name} = (\\d+),`).exec(header)![1]);
  const { descTransA, descEpilogue, descBiasPointer, epilogueBias, preferenceMaxWorkspaceBytes } = BlasLt;
  assert.deepEqual(
    [descTransA, descEpilogue, descBiasPointer, epilogueBias, preferenceMaxWorkspaceBytes],
    ["MATMUL_DESC_TRANSA", "MATMUL_DESC_EPILOGUE", "MATMUL_DESC_BIAS_POINTER", "EPILOGUE_BIAS"].map(valueOf)
      .concat(valueOf("MATMUL_PREF_MAX_WORKSPACE_BYTES")),
  );
  assert.equal(BlasLt.epilogueReluBias, valueOf("EPILOGUE_RELU") | epilogueBias);
  assert.deepEqual(
    [...BlasLt.preferenceMinAlignments],
    [..."ABCD"].map((operand) => valueOf(`MATMUL_PREF_MIN_ALIGNMENT_${operand}_BYTES`)),
  );
});

/** The FFI types that a C parameter may be declared as. */
function typesOf(parameter: string): string[] {
  const type = parameter.replace(/\b(const|enum|struct)\b/g, "").trim();
  if (type.includes("*") || type.includes("[")) return ["buffer", "pointer", "u64"];
  const name = type.split(/\s+/).slice(0, -1).join(" ") || type;
  if (/^(cudaStream_t|cudaEvent_t|cudaGraph_t|cudaGraphExec_t|CUmodule|CUfunction|CUstream)$/.test(name)) {
    return ["pointer"];
  }
  if (name === "ncclUniqueId") return ["struct"];
  if (/^(ncclComm_t|cublas(Lt)?Handle_t|cudnnHandle_t|cudnn\w+Descriptor_t)$/.test(name)) return ["pointer"];
  if (/^cublasLt(MatmulDesc|MatrixLayout|MatmulPreference)_t$/.test(name)) return ["pointer"];
  if (name === "uint64_t") return ["u64"];
  if (name === "int64_t") return ["i64"];
  if (name === "size_t") return ["usize"];
  if (name === "unsigned int") return ["u32"];
  if (name === "unsigned long long") return ["u64"];
  if (name === "double") return ["f64"];
  return ["i32"]; // int, CUdevice and enumerations
}

/** Names of a function's parameters in the source: "u64 devPtr" is devPtr, and a structure has its own name. */
function sourceNames(file: string, symbol: string): string[] {
  const text = Deno.readTextFileSync(new URL(`../../ffi/${file}.ts`, import.meta.url));
  const [, ...parameters] = new RegExp(`\\n  ${symbol}: \\[([^\\]]*)\\]`).exec(text)![1].trim()
    .replace(/,$/, "").split(",");
  return parameters.map((parameter) => /(\w+)"?\s*$/.exec(parameter)![1]);
}

/** The parameter list of a function in a header without comments. */
function headerParameters(header: string, symbol: string): string[] | undefined {
  const match = new RegExp(`\\b${symbol}\\s*\\(([^;{]*?)\\)\\s*;`).exec(header);
  if (match === null) return undefined;
  const list = match[1].replace(/__dv\([^)]*\)/g, "").replace(/\s+/g, " ").trim();
  return list === "" || list === "void" ? [] : list.split(",").map((parameter) => parameter.trim());
}

function findHeader(name: string): string | undefined {
  for (const folder of cudaFolders(["cublas", "cudnn", "cuda_runtime", "nccl"])) {
    for (const include of [`${folder}/../include`, `${folder}/../../../include`]) {
      try {
        return Deno.readTextFileSync(`${include}/${name}`).replace(/\/\*[\s\S]*?\*\//g, " ").replace(/\/\/.*/g, " ");
      } catch {
        // the next folder may have it
      }
    }
  }
  return undefined;
}

const lastWord = (declaration: string) => /(\w+)\s*(\[\])?$/.exec(declaration)![1];

for (
  const [file, table, headerName] of [
    ["cudart", cudartSymbols, "cuda_runtime_api.h"],
    ["cuda", cudaSymbols, "cuda.h"],
    ["cublas", cublasSymbols, "cublas_api.h"],
    ["cublas_lt", cublasLtSymbols, "cublasLt.h"],
    ["cudnn", cudnnSymbols, "cudnn_ops.h"],
    ["nccl", ncclSymbols, "nccl.h"],
  ] as const
) {
  const header = findHeader(headerName);
  const more = file === "cudnn" ? findHeader("cudnn_graph.h") ?? "" : "";
  testWith(header, `every signature of ffi/${file}.ts agrees with ${headerName}`, (header) => {
    for (const [symbol, { parameters }] of Object.entries(table)) {
      const declared = headerParameters(header, symbol) ?? headerParameters(more, symbol);
      assert.ok(declared !== undefined, `${headerName} does not declare ${symbol}`);
      assert.equal(parameters.length, declared.length, `${symbol} takes (${declared.join(", ")})`);
      const written = sourceNames(file, symbol);
      assert.equal(written.length, parameters.length, `${symbol} does not name all its parameters`);
      declared.forEach((parameter, i) => {
        const type: Deno.NativeType = parameters[i];
        assert.ok(
          typesOf(parameter).includes(typeof type === "string" ? type : "struct"),
          `${symbol}: ${parameter} is declared as ${type}`,
        );
        if (!/[ *]/.test(parameter)) return; // the header gives only the type
        assert.equal(written[i], lastWord(parameter), `${symbol}: parameter ${i} is called ${written[i]}`);
      });
    }
  });
}
