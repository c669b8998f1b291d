/** What a CUDA library says when a call fails, and the wrapper that asks after every call. */

/** A failed call of a CUDA library: "cudaMalloc: cudaErrorMemoryAllocation (2), out of memory". */
export class CudaError extends Error {
  /** Tells the error from others by name. */
  override name = "CudaError";
  /** The function that failed. */
  readonly call: string;
  /** Its status, a number of that library. */
  readonly code: number;
  /** The status by its C name. */
  readonly codeName: string;

  /** `text` is the library's own description. */
  constructor(call: string, code: number, codeName: string, text: string) {
    super(`${call}: ${codeName} (${code}), ${text}`);
    this.call = call;
    this.code = code;
    this.codeName = codeName;
  }
}

/** The library's own name and text of a status. */
export interface StatusText {
  readonly name: string;
  readonly text: string;
}

type Table = Deno.ForeignLibraryInterface;
type Call<F> = F extends (...parameters: infer P) => infer R ? (...parameters: P) => R : never;

/** The calls of a table that answer with a status, made to throw instead of returning it. */
export type CheckedCalls<S extends Table> = {
  readonly [K in keyof S as S[K] extends { result: "i32" } ? K : never]: (
    ...parameters: Parameters<Call<Deno.StaticForeignLibraryInterface<S>[K]>>
  ) => void;
};

/** What becomes of a failed call: it throws. */
export type Failure = (error: CudaError) => never;

/** Throws the error as it is. */
export const throwCudaError: Failure = (error) => {
  throw error;
};

/** Wraps every call of the table with result "i32" (a status, 0 for success) so that it ends in `fail` when it fails. */
export function checkedCalls<const S extends Table>(
  table: S,
  symbols: Deno.StaticForeignLibraryInterface<S>,
  describe: (code: number) => StatusText,
  fail: Failure,
): CheckedCalls<S> {
  const calls: Record<string, (...parameters: unknown[]) => void> = {};
  for (const [name, declaration] of Object.entries(table)) {
    if (!("result" in declaration) || declaration.result !== "i32") continue;
    const call = (symbols as Record<string, unknown>)[name] as (...parameters: unknown[]) => number;
    calls[name] = (...parameters) => {
      const code = call(...parameters);
      if (code !== 0) {
        const { name: codeName, text } = describe(code);
        fail(new CudaError(name, code, codeName, text));
      }
    };
  }
  return calls as CheckedCalls<S>;
}

/** A C string that a library owns, or a word for NULL. */
export function textAt(pointer: Deno.PointerValue): string {
  return pointer === null ? "unknown" : new Deno.UnsafePointerView(pointer).getCString();
}
