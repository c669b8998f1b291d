/**
 * Finds and opens native libraries. Nothing is opened when a module is imported: a table is opened at its first use,
 * so a machine without the library never notices. Libraries are never closed: a call after closing would be a
 * segmentation fault, and CUDA libraries do not survive it.
 */
import { isAbsolute } from "node:path";

/** A library that cannot be opened. The message lists every attempt and how to install what is missing. */
export class LibraryError extends Error {
  /** Name of the class, which distinguishes the error from others. */
  override name = "LibraryError";
  /** Each path that was tried, with the result. */
  readonly tries: readonly string[];

  /** `message` is complete; `tries` lists the attempts again. */
  constructor(message: string, tries: readonly string[]) {
    super(message);
    this.tries = tries;
  }
}

/** A library to open, and where to look for it. */
export interface LibraryRequest<S extends Deno.ForeignLibraryInterface> {
  /** Name for messages, such as "cuBLAS". */
  readonly name: string;
  /** Environment variable with the absolute path of the library's file or its folder. */
  readonly environment: string;
  /** File names, best first. Each is passed to the system's loader, then looked for in every folder. */
  readonly names: readonly string[];
  /** Absolute folders to search after those of the loader. */
  readonly folders: readonly string[];
  readonly symbols: S;
  /**
   * Says why an opened library cannot work here; the next candidates are then tried. If no candidate works, the first
   * that opened is used.
   */
  readonly unfit?: ((symbols: Deno.StaticForeignLibraryInterface<S>) => string | undefined) | undefined;
  /** Command or sentence that says how to install the library. */
  readonly install: string;
}

/** An opened library. */
export interface OpenLibrary<S extends Deno.ForeignLibraryInterface> {
  /** Path of the library, or the bare name that the system's loader resolved. */
  readonly path: string;
  readonly symbols: Deno.StaticForeignLibraryInterface<S>;
}

/**
 * Opens the first candidate that loads, has all symbols and is not unfit. Candidates are the path in the environment
 * variable (if set, nothing else is tried), each name in the system's loader, and each name in each folder. Relative
 * paths are refused, so nothing is ever loaded from the working directory. Throws LibraryError if no candidate opens.
 */
export function openLibrary<const S extends Deno.ForeignLibraryInterface>(request: LibraryRequest<S>): OpenLibrary<S> {
  const tries: string[] = [];
  const wanted = Deno.env.get(request.environment);
  let unfit: OpenLibrary<S> | undefined;
  const candidates = wanted === undefined || wanted === "" ? searchPaths(request) : overridePaths(request, wanted);
  for (const path of candidates) {
    try {
      const { symbols } = Deno.dlopen(path, request.symbols);
      const opened = { path, symbols };
      if (request.unfit?.(symbols) === undefined) return opened;
      unfit ??= opened;
    } catch (error) {
      if (error instanceof Deno.errors.NotCapable) {
        throw new LibraryError(`Cannot load ${request.name}: Deno may not open libraries; run it with -A`, tries);
      }
      tries.push(`${path}: ${reasonOf(error)}`);
    }
  }
  if (unfit !== undefined) return unfit;
  for (const folder of request.folders) {
    if (wanted === undefined && !isFolder(folder)) tries.push(`${folder}: no such folder`);
  }
  throw new LibraryError(
    `Cannot load ${request.name}: none of these could be opened\n${tries.map((line) => `  ${line}\n`).join("")}` +
      `Install it with: ${request.install}\nor set ${request.environment} to the absolute path of the library.`,
    tries,
  );
}

/**
 * Folder of a Homebrew formula's libraries, from HOMEBREW_PREFIX (set by `brew shellenv`); empty on systems other than
 * macOS.
 */
export function homebrewFolders(formula: string): string[] {
  if (Deno.build.os !== "darwin") return [];
  const prefix = Deno.env.get("HOMEBREW_PREFIX");
  return prefix?.startsWith("/") ? [[prefix, "opt", formula, "lib"].join("/")] : [];
}

/** The fields of a request that determine candidates. */
type Places = Pick<LibraryRequest<Deno.ForeignLibraryInterface>, "name" | "environment" | "names" | "folders">;

function searchPaths(request: Places): string[] {
  const paths = [...request.names];
  for (const folder of request.folders) {
    for (const name of request.names) if (isFile(`${folder}/${name}`)) paths.push(`${folder}/${name}`);
  }
  for (const path of request.folders) {
    if (!isAbsolute(path)) throw new LibraryError(`Cannot load ${request.name}: ${path} is not absolute`, []);
  }
  return paths;
}

function overridePaths(request: Places, wanted: string): string[] {
  if (!isAbsolute(wanted)) {
    throw new LibraryError(`Cannot load ${request.name}: ${request.environment}=${wanted} is not an absolute path`, []);
  }
  return isFolder(wanted) ? request.names.map((name) => `${wanted}/${name}`) : [wanted];
}

/** True if there is a regular file at this path. */
export function isFile(path: string): boolean {
  return statOf(path)?.isFile ?? false;
}

/** True if there is a folder at this path. */
export function isFolder(path: string): boolean {
  return statOf(path)?.isDirectory ?? false;
}

function statOf(path: string): Deno.FileInfo | undefined {
  try {
    return Deno.statSync(path);
  } catch {
    return undefined;
  }
}

/** The loader's message without Deno's prefix and the path, which the caller has printed already. */
function reasonOf(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  return text.replace(/^Could not open library: /, "").replace(/^Could not open library: /, "").trim();
}
