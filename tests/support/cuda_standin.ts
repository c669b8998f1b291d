/**
 * Builds the CUDA libraries of tests/cuda_standin and runs processes with them. The product's own foreign calls run, as
 * on a GPU. A process selects its libraries when it opens them, so each test with the stand-in starts a process.
 */
import { createHash } from "node:crypto";
import { join } from "node:path";
import { cublasSymbols } from "../../ffi/cublas.ts";
import { cublasLtSymbols } from "../../ffi/cublas_lt.ts";
import { cudaSymbols } from "../../ffi/cuda.ts";
import { cudartSymbols } from "../../ffi/cudart.ts";
import { cudnnSymbols } from "../../ffi/cudnn.ts";
import { ncclSymbols } from "../../ffi/nccl.ts";
import { isInstalled } from "./programs.ts";

const SOURCES = new URL("../cuda_standin/", import.meta.url).pathname;
const KERNELS = new URL("../../src/backend/cuda/kernels/", import.meta.url).pathname;
const COMPILER = "clang++-14";
const FLAGS = ["-std=c++17", "-O1", "-fPIC", "-shared", "-pthread", "-Wall", "-Wno-ignored-attributes"];

/** Why tests with the stand-in are skipped here, or undefined. */
export const standInAbsent: string | undefined = isInstalled(COMPILER) ? undefined : `${COMPILER} is not installed`;

const C_TYPES: Record<string, string> = {
  ...{ i32: "int32_t", u32: "uint32_t", i64: "int64_t", u64: "uint64_t", usize: "size_t", f64: "double" },
  ...{ pointer: "void*", buffer: "void*" },
};

/** C declarations of everything in the tables: the compiler compares them with the definitions. */
function declarations(): string {
  const tables = {
    ...{ ...cudartSymbols, ...cudaSymbols, ...ncclSymbols },
    ...{ ...cublasSymbols, ...cublasLtSymbols, ...cudnnSymbols },
  };
  const typeOf = (type: unknown) => typeof type === "string" ? C_TYPES[type] : "struct ncclUniqueId";
  const lines = Object.entries(tables).map(([name, { parameters, result }]) =>
    `${typeOf(result)} ${name}(${parameters.map(typeOf).join(", ")});`
  );
  return `#pragma once\n#include <cstddef>\n#include <cstdint>\nextern "C" {\n` +
    `struct ncclUniqueId {\n  uint64_t words[16];\n};\n${lines.join("\n")}\n}\n`;
}

/** Includes every kernel's source, each in a namespace of its own. */
function kernelIncludes(files: readonly string[]): string {
  const names = files.filter((file) => file.endsWith(".cu")).map((file) => file.slice(KERNELS.length, -".cu".length));
  return names.map((name) => `namespace ${name} {\n#include "${name}.cu"\n}\n`).join("");
}

/** The library: built once for these sources, in the system's directory of temporary files. */
function build(): string {
  const header = declarations();
  const files = [SOURCES, KERNELS].flatMap((folder) =>
    [...Deno.readDirSync(folder)].map(({ name }) => folder + name).filter((path) => /\.(cpp|cu|h)$/.test(path)).sort()
  );
  const hash = createHash("sha256").update(header + FLAGS);
  for (const file of files) hash.update(Deno.readTextFileSync(file));
  const temporary = Deno.env.get("TMPDIR") ?? "/tmp";
  const library = join(temporary, `hotset-cuda-standin-${hash.digest("hex").slice(0, 16)}.so`);
  try {
    Deno.statSync(library);
    return library;
  } catch {
    // Not built yet.
  }
  const work = Deno.makeTempDirSync();
  try {
    Deno.writeTextFileSync(join(work, "declarations.h"), header);
    Deno.writeTextFileSync(join(work, "kernels.h"), kernelIncludes(files));
    const sources = files.filter((file) => file.endsWith(".cpp"));
    const made = join(work, "standin.so");
    const args = [...FLAGS, "-I", work, "-I", KERNELS, ...sources, "-o", made, "-ldl"];
    const { success, stderr } = new Deno.Command(COMPILER, { args }).outputSync();
    if (!success) throw new Error(`${COMPILER} cannot build the stand-in:\n${new TextDecoder().decode(stderr)}`);
    const near = `${library}.${crypto.randomUUID()}`;
    Deno.copyFileSync(made, near);
    Deno.renameSync(near, library);
    return library;
  } finally {
    Deno.removeSync(work, { recursive: true });
  }
}

/** What the stand-in does in a process. */
export interface StandInOptions {
  /** Number of GPUs; 1 unless given. */
  readonly devices?: number;
  /** Versions of runtime and driver, such as 13000; 12000 unless given. */
  readonly runtime?: number;
  readonly driver?: number;
  /** Compute capability of the GPUs, such as 90 for 9.0; 80 unless given. */
  readonly capability?: number;
  /** Longest random delay of an operation on a stream, in microseconds; 0 unless given. */
  readonly delay?: number;
  /** Seed of the delays. */
  readonly seed?: number;
  /** True for devices of no time: calls are checked, but what they queue on streams is not done. */
  readonly idle?: boolean;
  /** A call or operation that fails: its name, which of them, with which code, on which device (-1: any). */
  readonly fail?: { name: string; number: number; code: number; device: number };
}

/** The environment of a process that has the stand-in for CUDA. */
export function standInEnvironment(options: StandInOptions = {}): Record<string, string> {
  const library = build();
  const { devices = 1, runtime = 12000, driver = 12000, capability = 80, delay = 0, seed = 1, idle = false, fail } =
    options;
  const names = [
    "HOTSET_CUDART",
    "HOTSET_CUDA_DRIVER",
    "HOTSET_CUBLAS",
    "HOTSET_CUBLASLT",
    "HOTSET_CUDNN",
    "HOTSET_NCCL",
  ];
  return {
    ...Object.fromEntries(names.map((name) => [name, library])),
    HOTSET_TEST_DEVICE: "cuda",
    HOTSET_STANDIN_DEVICES: String(devices),
    HOTSET_STANDIN_RUNTIME: String(runtime),
    HOTSET_STANDIN_DRIVER: String(driver),
    HOTSET_STANDIN_CAPABILITY: String(capability),
    HOTSET_STANDIN_DELAY_US: String(delay),
    HOTSET_STANDIN_SEED: String(seed),
    HOTSET_STANDIN_IDLE: idle ? "1" : "0",
    ...(fail === undefined ? {} : { HOTSET_STANDIN_FAIL: `${fail.name}:${fail.number}:${fail.code}:${fail.device}` }),
  };
}
