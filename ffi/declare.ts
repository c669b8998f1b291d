/** Declarations of C functions, one line each. */

type Parameter = string | Deno.NativeStructType;

/**
 * The result of a function, and its parameters: each a native type with the name that the C header gives it, such as
 * "u64 devPtr", or a structure by value.
 */
export type Declaration = readonly [result: Deno.NativeResultType, ...parameters: Parameter[]];

type TypeOf<P> = P extends `${infer T extends Deno.NativeType & string} ${string}` ? T : P;

/** The definition of a function that Deno takes. */
export type Definition<D> = D extends readonly [infer R extends Deno.NativeResultType, ...infer P]
  ? { readonly parameters: { readonly [K in keyof P]: TypeOf<P[K]> }; readonly result: R }
  : D;

/** The definitions of a table of functions. */
export type Definitions<T> = { readonly [K in keyof T]: Definition<T[K]> };

/** The definition of a declared function. */
export function definitionOf<const D extends Declaration>([result, ...parameters]: D): Definition<D> {
  const types = parameters.map((parameter) => typeof parameter === "string" ? parameter.split(" ")[0] : parameter);
  return { parameters: types, result } as unknown as Definition<D>;
}

/** The definitions of a library's functions. What is no declaration, such as a constant, is taken as it is. */
export function declare<const T extends Record<string, Declaration | Deno.ForeignFunction | Deno.ForeignStatic>>(
  table: T,
): Definitions<T> {
  return Object.fromEntries(
    Object.entries(table).map((
      [name, entry],
    ) => [name, Array.isArray(entry) ? definitionOf(entry as Declaration) : entry]),
  ) as unknown as Definitions<T>;
}

/** The definitions of functions that a library may lack; they are then null. */
export function optional<T extends Record<string, Deno.ForeignFunction>>(
  functions: T,
): { readonly [K in keyof T]: T[K] & { readonly optional: true } } {
  return Object.fromEntries(
    Object.entries(functions).map(([name, definition]) => [name, { ...definition, optional: true }]),
  ) as unknown as { readonly [K in keyof T]: T[K] & { readonly optional: true } };
}
