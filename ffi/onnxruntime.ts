/**
 * ONNX Runtime: single-precision matrix products without an installed library. The package onnxruntime-node contains
 * the library for Linux, macOS and Windows and is downloaded when it is first needed. Tested on Linux x64 only.
 */
import { fileURLToPath } from "node:url";
import project from "../deno.json" with { type: "json" };
import { type Declaration, declare, type Definition, definitionOf } from "./declare.ts";
import type { Gemm } from "./gemm.ts";
import { LibraryError, openLibrary } from "./library.ts";
import { gemmModel, INPUT_A, INPUT_B, OUTPUT } from "./onnx_gemm.ts";
import { cString, pointerAt } from "./pointer.ts";

const symbols = declare({
  OrtGetApiBase: ["pointer"],
});

/** The two members of OrtApiBase: of a version of OrtApi the table, and the version of the library. */
const getApi = definitionOf(["pointer", "u32 version"]);
const getVersionString = definitionOf(["pointer"]);

/** Indices of members of OrtApi, which only grows at its end. Most return an OrtStatus, NULL for success. */
const functions = {
  GetErrorMessage: [2, ["pointer", "pointer status"]],
  CreateEnv: [3, ["pointer", "i32 log_severity_level", "buffer logid", "buffer out"]],
  CreateSessionFromArray: [
    8,
    ["pointer", "pointer env", "buffer model_data", "usize model_data_length", "pointer options", "buffer out"],
  ],
  CreateSessionOptions: [10, ["pointer", "buffer options"]],
  SetIntraOpNumThreads: [24, ["pointer", "pointer options", "i32 intra_op_num_threads"]],
  CreateTensorWithDataAsOrtValue: [
    49,
    [
      "pointer",
      "pointer info",
      "buffer p_data",
      "usize p_data_len",
      "buffer shape",
      "usize shape_len",
      "i32 type",
      "buffer out",
    ],
  ],
  CreateCpuMemoryInfo: [69, ["pointer", "i32 type", "i32 mem_type", "buffer out"]],
  ReleaseStatus: [93, ["void", "pointer input"]],
  ReleaseValue: [96, ["void", "pointer input"]],
  RunWithBinding: [133, ["pointer", "pointer session", "pointer run_options", "pointer binding_ptr"]],
  CreateIoBinding: [134, ["pointer", "pointer session", "buffer out"]],
  ReleaseIoBinding: [135, ["void", "pointer input"]],
  BindInput: [136, ["pointer", "pointer binding_ptr", "buffer name", "pointer val_ptr"]],
  BindOutput: [137, ["pointer", "pointer binding_ptr", "buffer name", "pointer val_ptr"]],
} as const satisfies Record<string, readonly [position: number, declaration: Declaration]>;

/** Requested version of OrtApi: that of 1.10, the first with all members above. */
const API_VERSION = 10;
const POINTER_BYTES = 8;
const LOG_ERRORS = 3;
const ARENA_ALLOCATOR = 1;
const DEFAULT_MEMORY = 0;
const FLOAT = 1;

/**
 * Maximum number of cached products. A run needs a few dozen; the limit protects programs that pass new arrays to every
 * call.
 */
const MAX_PRODUCTS = 4096;

const PACKAGE = "onnxruntime-node";
/** The package as deno.json pins it: `npm:onnxruntime-node@VERSION`. */
const VERSION = project.imports[PACKAGE].split("@")[1];
const SYSTEMS: Partial<Record<typeof Deno.build.os, [folder: string, file: string]>> = {
  linux: ["linux", "libonnxruntime.so.1"],
  darwin: ["darwin", `libonnxruntime.${VERSION}.dylib`],
  windows: ["win32", "onnxruntime.dll"],
};
const PROCESSORS = { x86_64: "x64", aarch64: "arm64" };

/** Description of the download. */
export const ONNX_RUNTIME_DOWNLOAD = `${PACKAGE} ${VERSION}, 97 MB`;

/** Path of the library's file or folder to use instead of the package. */
const ENVIRONMENT = "HOTSET_ONNXRUNTIME";

/** True if the package would be used and loading a library is permitted. */
export function mayFetchOnnxRuntime(): boolean {
  return Deno.permissions.querySync({ name: "ffi" }).state === "granted" && (Deno.env.get(ENVIRONMENT) ?? "") === "";
}

/**
 * Downloads the package into Deno's cache unless it is there. Returns the reason for a failure, or undefined. An
 * incomplete download is detected only when the library is opened.
 */
export async function fetchOnnxRuntime(): Promise<string | undefined> {
  // Not a literal: Deno would download a literal specifier before any command runs.
  const specifier = [PACKAGE, "package.json"].join("/");
  try {
    await import(specifier, { with: { type: "json" } });
    return undefined;
  } catch (error) {
    return error instanceof Error ? error.message.replace(/\s*\n\s*(\d+: )?/g, ": ") : String(error);
  }
}

/** Folders in Deno's cache that contain this platform's library if the package was downloaded. */
function packageFolder(system: string): string[] {
  const processor = PROCESSORS[Deno.build.arch];
  try {
    const manifest = new URL(import.meta.resolve(`${PACKAGE}/package.json`));
    return [fileURLToPath(new URL(`bin/napi-v6/${system}/${processor}`, manifest))];
  } catch {
    return []; // without Hotset's deno.json, which names the package
  }
}

/**
 * Opens ONNX Runtime if it was downloaded. A worker that calls this must end by closing itself; terminating it may
 * crash the process. Throws LibraryError that lists every attempt and how to install it.
 */
export function openOnnxRuntime(): OnnxRuntime {
  const [system, file] = SYSTEMS[Deno.build.os] ?? ["linux", "libonnxruntime.so.1"];
  const { path, symbols: { OrtGetApiBase } } = openLibrary({
    name: "ONNX Runtime",
    environment: ENVIRONMENT,
    names: [file],
    folders: packageFolder(system),
    symbols,
    install: "deno install, in Hotset's folder (downloads all packages)",
  });
  const base = new Deno.UnsafePointerView(OrtGetApiBase()!);
  const version = new Deno.UnsafeFnPointer(base.getPointer(POINTER_BYTES)!, getVersionString).call();
  const name = `ONNX Runtime ${Deno.UnsafePointerView.getCString(version!)}`;
  const table = new Deno.UnsafeFnPointer(base.getPointer(0)!, getApi).call(API_VERSION);
  if (table === null) throw new LibraryError(`Cannot use ${path}: ${name} is older than 1.${API_VERSION}`, []);
  return new OnnxRuntime(name, new Deno.UnsafePointerView(table));
}

type Pointer = Deno.PointerValue;
type Functions = {
  [Name in keyof typeof functions]: Deno.UnsafeFnPointer<Definition<(typeof functions)[Name][1]>>["call"];
};

/** A product with its operands bound, ready to run repeatedly. */
interface Product {
  readonly kind: number;
  readonly m: number;
  readonly n: number;
  readonly k: number;
  readonly a: Float32Array;
  readonly b: Float32Array;
  readonly binding: Pointer;
  readonly values: readonly Pointer[];
}

/** An opened ONNX Runtime: a session per kind of product, and a cache of bound products. */
class OnnxRuntime implements Gemm {
  readonly adds = false;
  readonly version: string;
  readonly #ort: Functions;
  readonly #environment: Pointer;
  readonly #options: Pointer;
  readonly #memory: Pointer;
  /** Index: bit 0 if the first matrix is transposed, bit 1 if the second is. */
  readonly #sessions: Pointer[] = [null, null, null, null];
  /** Cached products by the array of the result, which the entry keeps alive. */
  readonly #products = new Map<Float32Array, Product[]>();
  #count = 0;

  constructor(version: string, table: Deno.UnsafePointerView) {
    this.version = version;
    this.#ort = Object.fromEntries(
      Object.entries(functions).map(([name, [position, declaration]]) => {
        const definition = definitionOf(declaration) as Deno.ForeignFunction;
        const pointer = new Deno.UnsafeFnPointer(table.getPointer(POINTER_BYTES * position)!, definition);
        return [name, pointer.call.bind(pointer)];
      }),
    ) as unknown as Functions;
    this.#environment = this.#made((out) => this.#ort.CreateEnv(LOG_ERRORS, cString("hotset"), out));
    this.#options = this.#made((out) => this.#ort.CreateSessionOptions(out));
    this.#check(this.#ort.SetIntraOpNumThreads(this.#options, 1));
    this.#memory = this.#made((out) => this.#ort.CreateCpuMemoryInfo(ARENA_ALLOCATOR, DEFAULT_MEMORY, out));
  }

  gemm(
    transposeA: boolean,
    transposeB: boolean,
    m: number,
    n: number,
    k: number,
    a: Float32Array,
    b: Float32Array,
    c: Float32Array,
  ): void {
    // A single row or column equals its transpose in memory, and is several times faster without the flag.
    const kind = (transposeA && m > 1 ? 1 : 0) + (transposeB && n > 1 ? 2 : 0);
    const ready = this.#find(kind, m, n, k, a, b, c) ?? this.#prepare(kind, m, n, k, a, b, c);
    this.#check(this.#ort.RunWithBinding(this.#sessions[kind], null, ready.binding));
  }

  #find(
    kind: number,
    m: number,
    n: number,
    k: number,
    a: Float32Array,
    b: Float32Array,
    c: Float32Array,
  ): Product | undefined {
    const products = this.#products.get(c);
    if (products === undefined) return undefined;
    for (let i = 0; i < products.length; i++) {
      const each = products[i];
      if (each.a === a && each.b === b && each.m === m && each.n === n && each.k === k && each.kind === kind) {
        return each;
      }
    }
    return undefined;
  }

  #prepare(
    kind: number,
    m: number,
    n: number,
    k: number,
    a: Float32Array,
    b: Float32Array,
    c: Float32Array,
  ): Product {
    if (this.#count === MAX_PRODUCTS) this.#forget();
    const [transposeA, transposeB] = [(kind & 1) !== 0, (kind & 2) !== 0];
    this.#sessions[kind] ??= this.#session(transposeA, transposeB);
    const binding = this.#made((out) => this.#ort.CreateIoBinding(this.#sessions[kind], out));
    const values = [
      this.#tensor(a, transposeA ? [k, m] : [m, k]),
      this.#tensor(b, transposeB ? [n, k] : [k, n]),
      this.#tensor(c, [m, n]),
    ];
    this.#check(this.#ort.BindInput(binding, NAMES.a, values[0]));
    this.#check(this.#ort.BindInput(binding, NAMES.b, values[1]));
    this.#check(this.#ort.BindOutput(binding, NAMES.c, values[2]));
    const product = { kind, m, n, k, a, b, binding, values };
    const others = this.#products.get(c);
    if (others === undefined) this.#products.set(c, [product]);
    else others.push(product);
    this.#count++;
    return product;
  }

  #session(transposeA: boolean, transposeB: boolean): Pointer {
    const model = gemmModel(transposeA, transposeB);
    return this.#made((out) =>
      this.#ort.CreateSessionFromArray(this.#environment, model, BigInt(model.length), this.#options, out)
    );
  }

  /** A tensor over the first elements of `floats`. */
  #tensor(floats: Float32Array, shape: [number, number]): Pointer {
    const words = shape[0] * shape[1];
    if (floats.length < words) throw new RangeError(`a matrix of ${shape} is larger than its ${floats.length} words`);
    const data = floats as Float32Array<ArrayBuffer>;
    const sizes = BigInt64Array.from(shape, BigInt);
    return this.#made((out) =>
      this.#ort.CreateTensorWithDataAsOrtValue(this.#memory, data, BigInt(4 * words), sizes, 2n, FLOAT, out)
    );
  }

  /** Releases all cached products. */
  #forget(): void {
    for (const { binding, values } of [...this.#products.values()].flat()) {
      this.#ort.ReleaseIoBinding(binding);
      for (const value of values) this.#ort.ReleaseValue(value);
    }
    this.#products.clear();
    this.#count = 0;
  }

  /** The handle that a call writes to its output argument. */
  #made(call: (out: BigUint64Array<ArrayBuffer>) => Pointer): Pointer {
    const out = new BigUint64Array(1);
    this.#check(call(out));
    return pointerAt(out[0]);
  }

  #check(status: Pointer): void {
    if (status === null) return;
    const text = Deno.UnsafePointerView.getCString(this.#ort.GetErrorMessage(status)!);
    this.#ort.ReleaseStatus(status);
    throw new Error(`${this.version} failed: ${text}`);
  }
}

const NAMES = { a: cString(INPUT_A), b: cString(INPUT_B), c: cString(OUTPUT) };
