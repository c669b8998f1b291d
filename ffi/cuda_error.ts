/** Errors of CUDA libraries, and wrappers of their functions that check the returned status. */

/** A failed call of a CUDA library: "cudaMalloc: cudaErrorMemoryAllocation (2), out of memory". */
export class CudaError extends Error {
  /** Name of the class, which distinguishes the error from others. */
  override name = "CudaError";
  /** The function that failed. */
  readonly call: string;
  /** Its status code; the meaning depends on the library. */
  readonly code: number;
  /** C name of the status. */
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

/** The functions of a table that return a status, made to throw instead. */
export type CheckedCalls<S extends Table> = {
  readonly [K in keyof S as S[K] extends { result: "i32" } ? K : never]: (
    ...parameters: Parameters<Call<Deno.StaticForeignLibraryInterface<S>[K]>>
  ) => void;
};

/** Handles a failed call; must throw. */
export type Failure = (error: CudaError) => never;

/** Throws the error unchanged. */
export const throwCudaError: Failure = (error) => {
  throw error;
};

/** Wraps every function with result "i32" (a status, 0 for success) so that a failed call ends in `fail`. */
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

/** Text of a C string that a library owns; a placeholder for NULL. */
export function textAt(pointer: Deno.PointerValue): string {
  return pointer === null ? "unknown" : new Deno.UnsafePointerView(pointer).getCString();
}
