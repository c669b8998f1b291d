/** Rounding of matrices to bf16 by oneDNN, with the processor's instruction for it: four times as fast as in WASM. */
import { declare, optional } from "./declare.ts";
import type { Rounding } from "./gemm.ts";

/** Functions of oneDNN 2. Version 3 describes memory in another way. Handles are pointers. */
export const ROUNDING_SYMBOLS = optional(declare({
  dnnl_engine_create: ["i32", "buffer engine", "i32 kind", "usize index"],
  dnnl_stream_create: ["i32", "buffer stream", "pointer engine", "u32 flags"],
  dnnl_memory_desc_init_by_tag: ["i32", "buffer memory_desc", "i32 ndims", "buffer dims", "i32 data_type", "i32 tag"],
  dnnl_memory_create: ["i32", "buffer memory", "buffer memory_desc", "pointer engine", "pointer handle"],
  dnnl_memory_set_data_handle: ["i32", "pointer memory", "buffer handle"],
  dnnl_reorder_primitive_desc_create: [
    "i32",
    "buffer reorder_primitive_desc",
    "buffer src_desc",
    "pointer src_engine",
    "buffer dst_desc",
    "pointer dst_engine",
    "pointer attr",
  ],
  dnnl_primitive_create: ["i32", "buffer primitive", "pointer primitive_desc"],
  dnnl_primitive_execute: ["i32", "pointer primitive", "pointer stream", "i32 nargs", "buffer args"],
}));

type Functions = {
  [name in keyof typeof ROUNDING_SYMBOLS]: Exclude<
    Deno.StaticForeignLibraryInterface<typeof ROUNDING_SYMBOLS>[name],
    null
  >;
};

const CPU_ENGINE = 1;
const IN_ORDER = 1;
const TYPES = { bf16: 2, fp32: 3 };
/** dnnl_a: a vector. */
const VECTOR = 2;
/** Keys of dnnl_exec_arg_t. */
const [FROM, TO] = [1n, 17n];
const MOST_DIMENSIONS = 12;
/** More than sizeof(dnnl_memory_desc_t), 696. */
const DESCRIPTION_BYTES = 1024;

/** A primitive for matrices of one size. */
interface Sized {
  readonly primitive: Deno.PointerValue;
  readonly from: Deno.PointerValue;
  readonly to: Deno.PointerValue;
  readonly operands: BigUint64Array<ArrayBuffer>;
}

/** Undefined if this version of oneDNN has other functions. */
export function openRounding(
  library: Deno.StaticForeignLibraryInterface<typeof ROUNDING_SYMBOLS>,
): Rounding | undefined {
  if (Object.keys(ROUNDING_SYMBOLS).some((name) => library[name as keyof typeof ROUNDING_SYMBOLS] === null)) {
    return undefined;
  }
  return new OneDnnRounding(library as Functions);
}

class OneDnnRounding implements Rounding {
  readonly #functions: Functions;
  readonly #engine: Deno.PointerValue;
  readonly #stream: Deno.PointerValue;
  readonly #sizes = new Map<number, Sized>();

  constructor(functions: Functions) {
    this.#functions = functions;
    this.#engine = created((handle) => functions.dnnl_engine_create(handle, CPU_ENGINE, 0n));
    this.#stream = created((handle) => functions.dnnl_stream_create(handle, this.#engine, IN_ORDER));
  }

  prepare(words: number): void {
    if (words === 0 || this.#sizes.has(words)) return;
    const library = this.#functions;
    const engine = this.#engine;
    const dimensions = new BigInt64Array(MOST_DIMENSIONS);
    dimensions[0] = BigInt(words);
    const [source, target] = [TYPES.fp32, TYPES.bf16].map((type) => {
      const description = new Uint8Array(DESCRIPTION_BYTES);
      check(library.dnnl_memory_desc_init_by_tag(description, 1, dimensions, type, VECTOR));
      return description;
    });
    const [from, to] = [source, target].map((description) =>
      created((handle) => library.dnnl_memory_create(handle, description, engine, null))
    );
    const description = created((handle) =>
      library.dnnl_reorder_primitive_desc_create(handle, source, engine, target, engine, null)
    );
    const primitive = created((handle) => library.dnnl_primitive_create(handle, description));
    const addressOf = (memory: Deno.PointerValue) => BigInt(Deno.UnsafePointer.value(memory));
    const operands = BigUint64Array.of(FROM, addressOf(from), TO, addressOf(to));
    this.#sizes.set(words, { primitive, from, to, operands });
  }

  round(words: number, from: Float32Array, to: Uint16Array): boolean {
    const sized = this.#sizes.get(words);
    if (sized === undefined) return false;
    if (from.length < words || to.length < words) throw new RangeError(`An array is shorter than ${words}`);
    const library = this.#functions;
    check(library.dnnl_memory_set_data_handle(sized.from, from));
    check(library.dnnl_memory_set_data_handle(sized.to, to));
    check(library.dnnl_primitive_execute(sized.primitive, this.#stream, 2, sized.operands));
    return true;
  }
}

/** The handle that a function writes. It lasts as long as the process. */
function created(create: (handle: BigUint64Array<ArrayBuffer>) => number): Deno.PointerValue {
  const handle = new BigUint64Array(1);
  check(create(handle));
  return Deno.UnsafePointer.create(handle[0]);
}

function check(status: number): void {
  if (status !== 0) throw new Error(`oneDNN failed to round a matrix: status ${status}`);
}
