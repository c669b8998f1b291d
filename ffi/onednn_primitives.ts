/**
 * What computations of oneDNN 2 have in common: an engine, and primitives for matrices of one size. Version 3 describes
 * memory and computations in another way. Nothing is freed, because ranks last as long as their process.
 */
import { declare, optional } from "./declare.ts";

/** Functions that oneDNN 3 may not have. Each returns a dnnl_status_t; the first parameter of most receives an object. */
export const PRIMITIVE_SYMBOLS = optional(declare({
  dnnl_engine_create: ["i32", "buffer engine", "i32 kind", "usize index"],
  dnnl_stream_create: ["i32", "buffer stream", "pointer engine", "u32 flags"],
  dnnl_memory_desc_init_by_strides: [
    "i32",
    "buffer memory_desc",
    "i32 ndims",
    "buffer dims",
    "i32 data_type",
    "buffer strides",
  ],
  dnnl_memory_desc_init_by_tag: [
    "i32",
    "buffer memory_desc",
    "i32 ndims",
    "buffer dims",
    "i32 data_type",
    "i32 tag",
  ],
  dnnl_memory_desc_get_size: ["usize", "buffer memory_desc"],
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
  dnnl_matmul_desc_init: [
    "i32",
    "buffer matmul_desc",
    "buffer src_desc",
    "buffer weights_desc",
    "pointer bias_desc",
    "buffer dst_desc",
  ],
  dnnl_primitive_desc_create: [
    "i32",
    "buffer primitive_desc",
    "buffer op_desc",
    "pointer attr",
    "pointer engine",
    "pointer hint_forward_primitive_desc",
  ],
  dnnl_primitive_desc_query_md: ["pointer", "pointer primitive_desc", "i32 what", "i32 index"],
  dnnl_post_ops_create: ["i32", "buffer post_ops"],
  dnnl_post_ops_append_sum: ["i32", "pointer post_ops", "f32 scale"],
  dnnl_primitive_attr_create: ["i32", "buffer attr"],
  dnnl_primitive_attr_set_post_ops: ["i32", "pointer attr", "pointer post_ops"],
  dnnl_primitive_create: ["i32", "buffer primitive", "pointer primitive_desc"],
  dnnl_primitive_execute: ["i32", "pointer primitive", "pointer stream", "i32 nargs", "buffer args"],
}));

type Symbols = Deno.StaticForeignLibraryInterface<typeof PRIMITIVE_SYMBOLS>;
type Functions = { [Name in keyof Symbols]: Exclude<Symbols[Name], null> };

const CPU = 1;
const IN_ORDER = 1;
const TYPES = { bf16: 2, fp32: 3 };
/** DNNL_ARG_SRC, DNNL_ARG_WEIGHTS and DNNL_ARG_DST. */
const [LEFT, RIGHT, RESULT] = [1n, 33n, 17n];
/** DNNL_ARG_FROM and DNNL_ARG_TO. */
const [FROM, TO] = [1n, 17n];
const MOST_DIMENSIONS = 12;
/** dnnl_format_tag_any, and dnnl_query_weights_md. */
const ANY_LAYOUT = 1;
const WEIGHTS = 131;
/** More than sizeof(dnnl_memory_desc_t), 696, and sizeof(dnnl_matmul_desc_t). */
const DESCRIPTION_BYTES = 8192;

/** A primitive with its operands. */
export interface Primitive {
  readonly primitive: Deno.PointerValue;
  readonly memories: readonly Deno.PointerValue[];
  /** Keys and memories: dnnl_exec_arg_t. */
  readonly operands: BigUint64Array<ArrayBuffer>;
}

/** Creates and executes primitives on the calling thread. */
export class OneDnnPrimitives {
  readonly functions: Functions;
  readonly engine: Deno.PointerValue;
  readonly #stream: Deno.PointerValue;

  /** Undefined if this version of oneDNN lacks a function. */
  static open(library: Symbols): OneDnnPrimitives | undefined {
    const names = Object.keys(PRIMITIVE_SYMBOLS) as (keyof Symbols)[];
    return names.some((name) => library[name] === null) ? undefined : new OneDnnPrimitives(library as Functions);
  }

  private constructor(functions: Functions) {
    this.functions = functions;
    this.engine = created((handle) => functions.dnnl_engine_create(handle, CPU, 0n));
    this.#stream = created((handle) => functions.dnnl_stream_create(handle, this.engine, IN_ORDER));
  }

  /** Describes a matrix, whose values of a column are next to each other if it is transposed. */
  matrix(type: keyof typeof TYPES, rows: number, columns: number, transposed = false): Uint8Array<ArrayBuffer> {
    return this.#values(type, [rows, columns], transposed ? [1, rows] : [columns, 1]);
  }

  /** Describes `count` such matrices, one after the other. */
  matrices(
    type: keyof typeof TYPES,
    count: number,
    rows: number,
    columns: number,
    transposed = false,
  ): Uint8Array<ArrayBuffer> {
    return this.#values(type, [count, rows, columns], [rows * columns, ...transposed ? [1, rows] : [columns, 1]]);
  }

  #values(type: keyof typeof TYPES, sizes: number[], strides: number[]): Uint8Array<ArrayBuffer> {
    const description = new Uint8Array(DESCRIPTION_BYTES);
    const [wideSizes, wideStrides] = [sizes, strides].map((words) => {
      const wide = new BigInt64Array(MOST_DIMENSIONS);
      wide.set(words.map(BigInt));
      return wide;
    });
    check(
      this.functions.dnnl_memory_desc_init_by_strides(description, sizes.length, wideSizes, TYPES[type], wideStrides),
    );
    return description;
  }

  /** Describes a matrix whose layout oneDNN is to choose. */
  #anyMatrix(type: keyof typeof TYPES, rows: number, columns: number): Uint8Array<ArrayBuffer> {
    const description = new Uint8Array(DESCRIPTION_BYTES);
    const sizes = new BigInt64Array(MOST_DIMENSIONS);
    sizes.set([BigInt(rows), BigInt(columns)]);
    check(this.functions.dnnl_memory_desc_init_by_tag(description, 2, sizes, TYPES[type], ANY_LAYOUT));
    return description;
  }

  /** Describes (k, n) matrices in the layout that is best on the right of (m, k) matrices; and their bytes. */
  packedMatrix(type: keyof typeof TYPES, m: number, n: number, k: number) {
    const { dnnl_primitive_desc_query_md, dnnl_memory_desc_get_size } = this.functions;
    const product = this.#describe(this.matrix(type, m, k), this.#anyMatrix(type, k, n), this.matrix("fp32", m, n));
    const chosen = dnnl_primitive_desc_query_md(product, WEIGHTS, 0)!;
    // Only its address is used. It is a part of the product's description, which is never freed.
    const matrix = new Uint8Array(Deno.UnsafePointerView.getArrayBuffer(chosen, 1));
    return { matrix, bytes: Number(dnnl_memory_desc_get_size(matrix)) };
  }

  /** The product of described matrices, the operands 0 and 1, to operand 2. */
  product(
    left: Uint8Array<ArrayBuffer>,
    right: Uint8Array<ArrayBuffer>,
    result: Uint8Array<ArrayBuffer>,
    attributes: Deno.PointerValue = null,
  ): Primitive {
    const description = this.#describe(left, right, result, attributes);
    return this.#primitive(description, [[LEFT, left], [RIGHT, right], [RESULT, result]]);
  }

  /** A copy of a described matrix, operand 0, to another type or layout, operand 1. */
  reorder(from: Uint8Array<ArrayBuffer>, to: Uint8Array<ArrayBuffer>): Primitive {
    const { functions, engine } = this;
    const description = created((handle) =>
      functions.dnnl_reorder_primitive_desc_create(handle, from, engine, to, engine, null)
    );
    return this.#primitive(description, [[FROM, from], [TO, to]]);
  }

  /** The description of a product. */
  #describe(
    left: Uint8Array<ArrayBuffer>,
    right: Uint8Array<ArrayBuffer>,
    result: Uint8Array<ArrayBuffer>,
    attributes: Deno.PointerValue = null,
  ): Deno.PointerValue {
    const { functions, engine } = this;
    const operation = new Uint8Array(DESCRIPTION_BYTES);
    check(functions.dnnl_matmul_desc_init(operation, left, right, null, result));
    return created((handle) => functions.dnnl_primitive_desc_create(handle, operation, attributes, engine, null));
  }

  /** The primitive of a description, with operands by key (DNNL_ARG). */
  #primitive(
    description: Deno.PointerValue,
    operands: readonly (readonly [key: bigint, matrix: Uint8Array<ArrayBuffer>])[],
  ): Primitive {
    const { functions, engine } = this;
    const memories = operands.map(([, matrix]) =>
      created((handle) => functions.dnnl_memory_create(handle, matrix, engine, null))
    );
    return {
      primitive: created((handle) => functions.dnnl_primitive_create(handle, description)),
      memories,
      operands: BigUint64Array.from(operands.flatMap(([key], i) => [key, Deno.UnsafePointer.value(memories[i])])),
    };
  }

  /** Lets operand `index` be at this place. */
  place({ memories }: Primitive, index: number, matrix: Float32Array | Uint16Array | Uint8Array): void {
    check(this.functions.dnnl_memory_set_data_handle(memories[index], matrix as Float32Array<ArrayBuffer>));
  }

  execute({ primitive, memories, operands }: Primitive): void {
    check(this.functions.dnnl_primitive_execute(primitive, this.#stream, memories.length, operands));
  }
}

/** The handle that a function writes. */
export function created(create: (handle: BigUint64Array<ArrayBuffer>) => number): Deno.PointerValue {
  const handle = new BigUint64Array(1);
  check(create(handle));
  return Deno.UnsafePointer.create(handle[0]);
}

/** Throws unless a function was successful. */
export function check(status: number): void {
  if (status !== 0) throw new Error(`oneDNN failed: status ${status}`);
}
