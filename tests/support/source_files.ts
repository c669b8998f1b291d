/** The project's source files, their imports and exports. */
import assert from "node:assert/strict";
import { TemporaryDirectory } from "./temporary.ts";

export const ROOT = new URL("../..", import.meta.url);
const decoder = new TextDecoder();

/** Files under a folder whose names match. */
export function filesUnder(folder: string, pattern: RegExp): string[] {
  return [...Deno.readDirSync(new URL(folder, ROOT))].flatMap(({ name, isDirectory }) => {
    const path = `${folder}/${name}`;
    return isDirectory ? filesUnder(path, pattern) : pattern.test(name) ? [path] : [];
  });
}

/** TypeScript files under a folder, except those that AssemblyScript compiles. */
export function sources(folder: string): string[] {
  return filesUnder(folder, /\.ts$/).filter((path) => !path.includes("/assembly/"));
}

/** Files that may open libraries and read memory by address; the emulator implements the libraries' functions. */
export const FOREIGN = [...sources("ffi"), ...sources("emulator")];
/** All files of the product. */
export const FILES = ["cli.ts", "mod.ts", ...sources("cli"), ...sources("mod"), ...sources("src"), ...FOREIGN];

interface Graph {
  modules: {
    specifier: string;
    dependencies?: { code?: { specifier: string }; type?: { specifier: string }; isDynamic?: boolean }[];
  }[];
}

/** Runs deno with this project's configuration. */
export async function deno(args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), { args, cwd: ROOT, env: { NO_COLOR: "1" } })
    .output();
  return { code, stdout: decoder.decode(stdout), stderr: decoder.decode(stderr) };
}

/** A module that imports or exports others, removed when disposed. */
export function moduleOf(directory: TemporaryDirectory, keyword: string, paths: readonly string[]): string {
  const entry = directory.join("all.ts");
  Deno.writeTextFileSync(
    entry,
    paths.map((path) => `${keyword} ${JSON.stringify(new URL(path, ROOT).href)};\n`).join(""),
  );
  return entry;
}

/** All modules below one. */
async function graphOf(entry: string): Promise<Graph> {
  const { code, stdout, stderr } = await deno(["info", "--json", "--config", "deno.json", entry]);
  assert.equal(code, 0, stderr);
  return JSON.parse(stdout);
}

/** Imports between files of the project, static and dynamic, by path. Workers are roots of their own. */
export async function imports(): Promise<[from: string, to: string][]> {
  using directory = new TemporaryDirectory();
  const { modules } = await graphOf(moduleOf(directory, "import", FILES));
  const inside = (specifier: string | undefined) =>
    specifier?.startsWith(ROOT.href) ? [specifier.slice(ROOT.href.length)] : [];
  return modules.flatMap(({ specifier, dependencies = [] }) =>
    inside(specifier).flatMap((from) =>
      dependencies.flatMap(({ code, type }) =>
        inside((code ?? type)?.specifier).map((to): [string, string] => [from, to])
      )
    )
  ).filter(([, to]) => to.endsWith(".ts"));
}

/** Import cycles between neighbours in a folder at any depth: files or whole folders. */
export function cycles(edges: readonly [from: string, to: string][]): string[][] {
  const imports = new Map<string, Set<string>>();
  for (const [from, to] of edges) {
    const [a, b] = [from.split("/"), to.split("/")];
    const fork = a.findIndex((name, i) => name !== b[i]); // the first difference: two neighbours in one folder
    if (fork === -1) continue;
    const [name, other] = [a, b].map((path) => path.slice(0, fork + 1).join("/"));
    if (!imports.has(name)) imports.set(name, new Set());
    imports.get(name)!.add(other);
  }
  const below = (name: string) => {
    const seen = new Set<string>();
    const visit = (next: string) => {
      if (seen.has(next)) return;
      seen.add(next);
      imports.get(next)?.forEach(visit);
    };
    imports.get(name)?.forEach(visit);
    return seen;
  };
  const reached = new Map([...imports.keys()].map((name) => [name, below(name)]));
  const found = [...reached].filter(([name, all]) => all.has(name)).map(([name, all]) =>
    [...all].filter((other) => reached.get(other)?.has(name)).sort().join(" ")
  );
  return [...new Set(found)].sort().map((names) => names.split(" "));
}

/** Names and kinds of the declarations that a module exports. */
export function exportsOf(text: string): { kind: string; name: string }[] {
  const declared = text.matchAll(
    /^export (?:declare |abstract |async )*(const|let|function\*?|class|interface|type|enum) (\w+)/gm,
  );
  return [...declared].map(([, kind, name]) => ({ kind, name }));
}

/** How often a name occurs in a text. */
export function mentions(text: string, name: string): number {
  return text.match(new RegExp(`\\b${name}\\b`, "g"))?.length ?? 0;
}

/** npm packages that importing a module loads. */
export async function packagesOf(path: string): Promise<string[]> {
  const modules = new Map((await graphOf(path)).modules.map((module) => [module.specifier, module]));
  const seen = new Set<string>();
  const visit = (specifier: string) => {
    if (seen.has(specifier)) return;
    seen.add(specifier);
    for (const { code, isDynamic } of modules.get(specifier)?.dependencies ?? []) {
      if (code !== undefined && !isDynamic) visit(code.specifier);
    }
  };
  visit(new URL(path, ROOT).href);
  const packages = [...seen].filter((specifier) => specifier.startsWith("npm:"));
  return packages.map((specifier) => /^npm:\/?(.+)@/.exec(specifier)![1]).sort();
}
