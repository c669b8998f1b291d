/**
 * ONNX Runtime: single-precision matrix products from npm alone. The package onnxruntime-node holds the library for Linux,
 * macOS and Windows; it is fetched when it is first needed. Tried on Linux x64, not on the other platforms.
 */
import { fileURLToPath } from "node:url";
import project from "../deno.json" with { type: "json" };
import type { Gemm } from "./gemm.ts";
import { LibraryError, openLibrary } from "./library.ts";
import { gemmModel, INPUT_A, INPUT_B, OUTPUT } from "./onnx_gemm.ts";
import { cString, pointerAt } from "./pointer.ts";

const symbols = {
  OrtGetApiBase: { parameters: [], result: "pointer" }, // const OrtApiBase *
} as const satisfies Deno.ForeignLibraryInterface;

/** OrtApiBase: its two members. */
const getApi = { parameters: ["u32" /* uint32_t version */], result: "pointer" } as const; // const OrtApi *
const getVersionString = { parameters: [], result: "pointer" } as const; // const char *

/** Members of OrtApi and where they lie in it: members are only ever added behind. Most return an OrtStatus, NULL if well. */
const functions = {
  GetErrorMessage: [2, { parameters: ["pointer" /* const OrtStatus *status */], result: "pointer" }], // const char *
  CreateEnv: [3, {
    parameters: [
      "i32", // OrtLoggingLevel log_severity_level
      "buffer", // const char *logid
      "buffer", // OrtEnv **out
    ],
    result: "pointer",
  }],
  CreateSessionFromArray: [8, {
    parameters: [
      "pointer", // const OrtEnv *env
      "buffer", // const void *model_data
      "usize", // size_t model_data_length
      "pointer", // const OrtSessionOptions *options
      "buffer", // OrtSession **out
    ],
    result: "pointer",
  }],
  CreateSessionOptions: [10, { parameters: ["buffer" /* OrtSessionOptions **options */], result: "pointer" }],
  SetIntraOpNumThreads: [24, {
    parameters: ["pointer", /* OrtSessionOptions *options */ "i32" /* int intra_op_num_threads */],
    result: "pointer",
  }],
  CreateTensorWithDataAsOrtValue: [49, {
    parameters: [
      "pointer", // const OrtMemoryInfo *info
      "buffer", // void *p_data
      "usize", // size_t p_data_len
      "buffer", // const int64_t *shape
      "usize", // size_t shape_len
      "i32", // ONNXTensorElementDataType type
      "buffer", // OrtValue **out
    ],
    result: "pointer",
  }],
  CreateCpuMemoryInfo: [69, {
    parameters: [
      "i32", // enum OrtAllocatorType type
      "i32", // enum OrtMemType mem_type
      "buffer", // OrtMemoryInfo **out
    ],
    result: "pointer",
  }],
  ReleaseStatus: [93, { parameters: ["pointer" /* OrtStatus *input */], result: "void" }],
  ReleaseValue: [96, { parameters: ["pointer" /* OrtValue *input */], result: "void" }],
  RunWithBinding: [133, {
    parameters: [
      "pointer", // OrtSession *session
      "pointer", // const OrtRunOptions *run_options
      "pointer", // const OrtIoBinding *binding_ptr
    ],
    result: "pointer",
  }],
  CreateIoBinding: [134, {
    parameters: ["pointer", /* OrtSession *session */ "buffer" /* OrtIoBinding **out */],
    result: "pointer",
  }],
  ReleaseIoBinding: [135, { parameters: ["pointer" /* OrtIoBinding *input */], result: "void" }],
  BindInput: [136, {
    parameters: [
      "pointer", // OrtIoBinding *binding_ptr
      "buffer", // const char *name
      "pointer", // const OrtValue *val_ptr
    ],
    result: "pointer",
  }],
  BindOutput: [137, {
    parameters: [
      "pointer", // OrtIoBinding *binding_ptr
      "buffer", // const char *name
      "pointer", // const OrtValue *val_ptr
    ],
    result: "pointer",
  }],
} as const satisfies Record<string, readonly [position: number, definition: Deno.ForeignFunction]>;

/** The version of OrtApi that is asked for: that of 1.10, which has all of the above. */
const API_VERSION = 10;
const POINTER_BYTES = 8;
const LOG_ERRORS = 3;
const ARENA_ALLOCATOR = 1;
const DEFAULT_MEMORY = 0;
const FLOAT = 1;

/** Products that are kept ready. A run has a few dozen; who makes new arrays for each product must not fill memory. */
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

/** What is fetched, for people. */
export const ONNX_RUNTIME_DOWNLOAD = `${PACKAGE} ${VERSION}, 97 MB`;

/** The library's file, or its folder, that is used instead of the package. */
const ENVIRONMENT = "HOTSET_ONNXRUNTIME";

/** True if the package would be used and a library may be opened. */
export function mayFetchOnnxRuntime(): boolean {
  return Deno.permissions.querySync({ name: "ffi" }).state === "granted" && (Deno.env.get(ENVIRONMENT) ?? "") === "";
}

/**
 * Fetches the package into Deno's cache unless it is there. Returns why it cannot be had, or undefined; where a part of it
 * arrived only opening the library tells.
 */
export async function fetchOnnxRuntime(): Promise<string | undefined> {
  // Not a literal: what Deno sees in the text it fetches before any command runs.
  const specifier = [PACKAGE, "package.json"].join("/");
  try {
    await import(specifier, { with: { type: "json" } });
    return undefined;
  } catch (error) {
    return error instanceof Error ? error.message.replace(/\s*\n\s*(\d+: )?/g, ": ") : String(error);
  }
}

/** The package's folder of this platform's library in Deno's cache, whether it is there or not. */
function packageFolder(system: string): string[] {
  const processor = PROCESSORS[Deno.build.arch];
  try {
    const manifest = new URL(import.meta.resolve(`${PACKAGE}/package.json`));
    return [fileURLToPath(new URL(`bin/napi-v6/${system}/${processor}`, manifest))];
  } catch {
    return []; // Hotset runs without its deno.json, which names the package.
  }
}

/**
 * Opens ONNX Runtime if it is there. A worker that opened it must end by closing itself: ended from outside, the process
 * may crash. Throws LibraryError that lists every try and how to get it.
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
  [Name in keyof typeof functions]: Deno.UnsafeFnPointer<(typeof functions)[Name][1]>["call"];
};

/** A product over given matrices, ready to be repeated. */
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

/** An opened ONNX Runtime: a session for each kind of product, and what was made ready for products asked for before. */
class OnnxRuntime implements Gemm {
  readonly version: string;
  readonly #ort: Functions;
  readonly #environment: Pointer;
  readonly #options: Pointer;
  readonly #memory: Pointer;
  /** By what is transposed: bit 0 the first matrix, bit 1 the second. */
  readonly #sessions: Pointer[] = [null, null, null, null];
  /** By the array that the product is written to, which is kept with it. */
  readonly #products = new Map<Float32Array, Product[]>();
  #count = 0;

  constructor(version: string, table: Deno.UnsafePointerView) {
    this.version = version;
    this.#ort = Object.fromEntries(
      Object.entries(functions).map(([name, [position, definition]]) => {
        const pointer = new Deno.UnsafeFnPointer(
          table.getPointer(POINTER_BYTES * position)!,
          definition as Deno.ForeignFunction,
        );
        return [name, pointer.call.bind(pointer)];
      }),
    ) as unknown as Functions;
    this.#environment = this.#made((slot) => this.#ort.CreateEnv(LOG_ERRORS, cString("hotset"), slot));
    this.#options = this.#made((slot) => this.#ort.CreateSessionOptions(slot));
    this.#check(this.#ort.SetIntraOpNumThreads(this.#options, 1));
    this.#memory = this.#made((slot) => this.#ort.CreateCpuMemoryInfo(ARENA_ALLOCATOR, DEFAULT_MEMORY, slot));
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
    // A row or a column is its own transpose, and several times as fast when not said to be transposed.
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
    const binding = this.#made((slot) => this.#ort.CreateIoBinding(this.#sessions[kind], slot));
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
    return this.#made((slot) =>
      this.#ort.CreateSessionFromArray(this.#environment, model, BigInt(model.length), this.#options, slot)
    );
  }

  /** A tensor over the first words of `floats`. */
  #tensor(floats: Float32Array, shape: [number, number]): Pointer {
    const words = shape[0] * shape[1];
    if (floats.length < words) throw new RangeError(`a matrix of ${shape} is larger than its ${floats.length} words`);
    const data = floats as Float32Array<ArrayBuffer>;
    const sizes = BigInt64Array.from(shape, BigInt);
    return this.#made((slot) =>
      this.#ort.CreateTensorWithDataAsOrtValue(this.#memory, data, BigInt(4 * words), sizes, 2n, FLOAT, slot)
    );
  }

  /** Lets go of all products. */
  #forget(): void {
    for (const { binding, values } of [...this.#products.values()].flat()) {
      this.#ort.ReleaseIoBinding(binding);
      for (const value of values) this.#ort.ReleaseValue(value);
    }
    this.#products.clear();
    this.#count = 0;
  }

  /** What a call writes to the slot that it is given. */
  #made(call: (slot: BigUint64Array<ArrayBuffer>) => Pointer): Pointer {
    const slot = new BigUint64Array(1);
    this.#check(call(slot));
    return pointerAt(slot[0]);
  }

  #check(status: Pointer): void {
    if (status === null) return;
    const text = Deno.UnsafePointerView.getCString(this.#ort.GetErrorMessage(status)!);
    this.#ort.ReleaseStatus(status);
    throw new Error(`${this.version} failed: ${text}`);
  }
}

const NAMES = { a: cString(INPUT_A), b: cString(INPUT_B), c: cString(OUTPUT) };
