/** Calls functions of this folder through the real FFI: every argument is converted in both directions. */

type Table = Deno.ForeignLibraryInterface;

/**
 * Implementations of the functions of a symbol table, by C name. Numbers, bigints and pointers arrive as C would get
 * them.
 */
export type Implementation<S extends Table> = {
  readonly [K in keyof S]: S[K] extends { readonly parameters: infer P extends readonly Deno.NativeType[] }
    ? (...parameters: Parameters<Deno.UnsafeCallbackFunction<P, "void">>) => unknown
    : never;
};

/** A symbol table that calls an implementation, and a function that releases it. */
export interface EmulatedTable<S extends Table> {
  readonly symbols: Deno.StaticForeignLibraryInterface<S>;
  close(): void;
}

/** Functions that describe a status, and work even if the device is broken. */
const OF_ERRORS = /^cuGetError/;

/**
 * Creates a C function for each function of the implementation, and a foreign call to it with the same signature. Those
 * that return a status run in `guard`, which returns it: 0, or that of an error.
 */
export function throughFfi<const S extends Table>(
  table: S,
  implementation: Implementation<S>,
  guard: (body: () => number | void) => number,
): EmulatedTable<S> {
  const symbols: Record<string, unknown> = {};
  const callbacks: { close(): void }[] = [];
  for (const [name, declaration] of Object.entries(table)) {
    const { parameters, result } = declaration as Deno.ForeignFunction;
    const definition = { parameters, result } as Deno.UnsafeCallbackDefinition;
    const own = implementation[name] as unknown as (...values: unknown[]) => number | void;
    const isGuarded = result === "i32" && !OF_ERRORS.test(name);
    const run = isGuarded ? (...values: unknown[]) => guard(() => own(...values)) : own;
    const callback = new Deno.UnsafeCallback(definition, run as never);
    const call = new Deno.UnsafeFnPointer(callback.pointer, definition as Deno.ForeignFunction);
    symbols[name] = (...values: unknown[]) => (call.call as (...values: unknown[]) => unknown)(...values);
    callbacks.push(callback);
  }
  return {
    symbols: symbols as Deno.StaticForeignLibraryInterface<S>,
    close: () => callbacks.forEach((callback) => callback.close()),
  };
}

/** Writes a 4-byte integer to an output argument. */
export function putInt(out: Deno.PointerValue, value: number): void {
  new Int32Array(Deno.UnsafePointerView.getArrayBuffer(out!, 4))[0] = value;
}

/** Writes a 4-byte float to an output argument. */
export function putFloat(out: Deno.PointerValue, value: number): void {
  new Float32Array(Deno.UnsafePointerView.getArrayBuffer(out!, 4))[0] = value;
}

/** Writes 8 bytes to an output argument: an address, a handle or a size_t. */
export function putWord(out: Deno.PointerValue, value: bigint): void {
  new BigUint64Array(Deno.UnsafePointerView.getArrayBuffer(out!, 8))[0] = value;
}

/** C strings that stay valid as long as the device. */
export class CStrings {
  readonly #kept = new Map<string, Uint8Array<ArrayBuffer>>();

  pointer(text: string): Deno.PointerValue {
    let bytes = this.#kept.get(text);
    if (bytes === undefined) this.#kept.set(text, bytes = new TextEncoder().encode(text + "\0"));
    return Deno.UnsafePointer.of(bytes);
  }
}

/** Objects behind opaque handles. Handles are never reused, so that the use of a destroyed one is detected. */
export class Handles<T> {
  readonly #kind: string;
  readonly #first: bigint;
  readonly #objects = new Map<bigint, T>();
  #count = 0n;

  constructor(kind: string, first: bigint) {
    this.#kind = kind;
    this.#first = first;
  }

  /** Adds an object and returns its handle. */
  add(object: T): bigint {
    const address = this.#first + 16n * ++this.#count;
    this.#objects.set(address, object);
    return address;
  }

  /** The object of a handle; undefined if the handle is invalid or was destroyed. */
  get(handle: Deno.PointerValue): T | undefined {
    return this.#objects.get(BigInt(Deno.UnsafePointer.value(handle)));
  }

  remove(handle: Deno.PointerValue): boolean {
    return this.#objects.delete(BigInt(Deno.UnsafePointer.value(handle)));
  }

  /** Describes the objects that were not destroyed. */
  leaks(): string[] {
    return this.#objects.size === 0 ? [] : [`${this.#objects.size} of ${this.#kind}`];
  }
}
