/** Checks the rules of docs/architecture.md: allowed imports, who opens libraries, what files may name. */
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { join } from "node:path";
import config from "../deno.json" with { type: "json" };
import {
  cycles,
  deno,
  exportsOf,
  FILES,
  filesUnder,
  FOREIGN,
  imports,
  mentions,
  moduleOf,
  packagesOf,
  ROOT,
  sources,
} from "./support/source_files.ts";
import { TemporaryDirectory } from "./support/temporary.ts";

/**
 * What each part may import besides itself. A part is a folder in src/ or at the top, with these exceptions: the files
 * directly in src/ are "foundation"; the contract of backends and open.ts, which chooses one, are apart from the folders of
 * backends; process_group.ts and host_group.ts are "group", the contract of ranks.
 */
const MAY_IMPORT: Record<string, string[]> = {
  "cli": [
    "report",
    "serving",
    "interop",
    "doctor",
    "plan",
    "run",
    "events",
    "config",
    "parallel",
    "model",
    "dataset",
    "optimizer",
  ],
  "mod": [
    ...[
      "report",
      "serving",
      "interop",
      "doctor",
      "plan",
      "run",
      "events",
      "config",
      "schedule",
      "parallel",
      "model",
      "layout",
    ],
    ...["profile", "dataset", "optimizer", "backend", "contract", "emulator", "ffi"],
  ],
  "report": ["doctor", "plan", "run", "events", "profile", "dataset"],
  "interop": ["run", "checkpoint", "config", "schedule", "events", "model", "dataset", "optimizer", "contract"],
  "serving": ["run", "loop", "checkpoint", "model", "embedding", "dataset", "open", "contract"],
  "doctor": ["loop", "parallel", "model", "open"],
  "plan": ["ranks", "config", "model", "embedding", "layout", "profile", "dataset", "optimizer", "contract"],
  "run": [
    ...["loop", "ranks", "checkpoint", "config", "events", "model", "layout", "profile", "dataset", "parallel"],
    "embedding",
    "schedule",
    "optimizer",
  ],
  "loop": [
    ...[
      "embedding",
      "ranks",
      "checkpoint",
      "config",
      "schedule",
      "events",
      "model",
      "layout",
      "dataset",
      "parallel",
      "optimizer",
    ],
    "contract",
  ],
  "ranks": [
    "embedding",
    "checkpoint",
    "config",
    "events",
    "model",
    "layout",
    "parallel",
    "optimizer",
    "open",
    "contract",
  ],
  "checkpoint": ["embedding", "config", "schedule", "model", "layout", "parallel", "optimizer", "contract"],
  "config": ["schedule", "optimizer", "contract"],
  "schedule": ["layout"],
  "events": ["model", "layout", "dataset"],
  "model": ["embedding", "layout", "parallel", "optimizer", "contract"],
  "embedding": ["layout", "parallel", "contract", "optimizer", "ffi"],
  "layout": ["profile", "dataset", "contract"],
  "profile": ["dataset", "optimizer"],
  "dataset": [],
  "parallel": ["contract", "ffi"],
  "open": ["backend", "contract", "ffi"],
  "backend": ["contract", "optimizer", "emulator", "ffi"],
  "contract": ["optimizer"],
  "optimizer": [],
  "storage": [],
  "threads": [],
  "group": [],
  "foundation": [],
  "emulator": ["ffi"],
  "ffi": [],
};
/** What every part may import, except the parts listed in BELOW. */
const BELOW_ALL = ["storage", "threads", "group", "foundation"];
const BELOW: Record<string, string[]> = {
  "storage": ["group", "foundation"],
  "group": ["foundation"],
  "threads": ["foundation"],
  "foundation": [],
  "emulator": [],
  "ffi": [],
};
const GROUP = ["src/parallel/process_group.ts", "src/parallel/host_group.ts"];
const CONTRACT = [
  "src/backend/backend.ts",
  "src/backend/shapes.ts",
  "src/backend/host_memory.ts",
  "src/backend/host_steps.ts",
  "src/backend/bf16_copies.ts",
  "src/backend/counting.ts",
];

/** The part that a file belongs to; all folders of backends are one. */
function partOf(path: string): string {
  if (CONTRACT.includes(path)) return "contract";
  if (GROUP.includes(path)) return "group";
  if (path === "src/backend/open.ts") return "open";
  if (path === "src/doctor.ts") return "doctor";
  const [top, name, ...rest] = path.split("/");
  if (top !== "src") return top.replace(/\.ts$/, "");
  return rest.length === 0 ? "foundation" : name;
}

Deno.test("imports go one way, as docs/architecture.md says", async () => {
  const edges = await imports();
  assert.ok(edges.length > FILES.length, `${edges.length} imports of ${FILES.length} files`);
  const wrong = edges.filter(([from, to]) => {
    const [part, other] = [partOf(from), partOf(to)];
    assert.ok(part in MAY_IMPORT, `${from} is in a part that docs/architecture.md does not know`);
    return part !== other && ![...MAY_IMPORT[part], ...BELOW[part] ?? BELOW_ALL].includes(other);
  });
  assert.deepEqual(wrong, []);
});

Deno.test("nothing imports itself by way of others: no file, and no folder at any depth", async () => {
  assert.deepEqual(cycles([["a/b.ts", "a/c.ts"], ["a/c.ts", "a/b.ts"]]), [["a/b.ts", "a/c.ts"]]);
  assert.deepEqual(cycles([["a/b/x.ts", "a/c/x.ts"], ["a/c/y.ts", "a/b/y.ts"], ["a/d.ts", "a/b/x.ts"]]), [[
    "a/b",
    "a/c",
  ]]);
  assert.deepEqual(cycles(await imports()), []);
});

// What its own file uses may be exported for tests, and a type for the signature of an exported function.
Deno.test("an export is used by the product or a tool, or by its own file and a test; else remove it", () => {
  assert.deepEqual(exportsOf("export async function a() {}\nexport type B = 1;\nconst c = 1;"), [
    { kind: "function", name: "a" },
    { kind: "type", name: "B" },
  ]);
  const entries = ["mod.ts", "cli.ts", ...sources("mod")];
  const all = [...FILES, ...["tests", "bench", "tools", "examples"].flatMap(sources)];
  const texts = new Map(all.map((path) => [path, Deno.readTextFileSync(new URL(path, ROOT))]));
  const users = new Map<string, { path: string; text: string }[]>(); // who names a module: to import it or as a worker
  for (const [path, text] of texts) {
    for (const [, to] of text.matchAll(/["`](\.{1,2}\/[^"`]+\.ts)["`]/g)) {
      const named = new URL(to, new URL(path, ROOT)).href.slice(ROOT.href.length);
      if (named !== path) users.set(named, [...users.get(named) ?? [], { path, text }]);
    }
  }
  const unused = FILES.filter((path) => !entries.includes(path)).flatMap((path) => {
    const text = texts.get(path)!;
    return exportsOf(text).filter(({ kind, name }) => {
      const isUsedHere = mentions(text, name) > 1;
      if (["type", "interface"].includes(kind) && isUsedHere) return false;
      const isUser = (user: { path: string; text: string }) =>
        (isUsedHere || !user.path.startsWith("tests/")) && mentions(user.text, name) > 0;
      return !users.get(path)?.some(isUser);
    }).map(({ name }) => `${path}: ${name}`);
  });
  assert.deepEqual(unused, []);
});

Deno.test("a backend's folder is imported by open.ts, by the entry for CUDA and by itself alone", async () => {
  const folderOf = (path: string) => /^src\/backend\/([^/]+)\//.exec(path)?.[1];
  const wrong = (await imports()).filter(([from, to]) =>
    folderOf(to) !== undefined && folderOf(from) !== folderOf(to) &&
    !["src/backend/open.ts", "mod/cuda.ts"].includes(from)
  );
  assert.deepEqual(wrong, []);
});

/** Packages that importing an entry loads. What only some of its functions need is imported by them. */
const LOADS: Record<string, string[]> = {
  ".": [],
  "./dataset": ["yauzl", "zod"],
  "./layout": ["zod"],
  "./train": ["yauzl", "zod"],
  "./score": ["yauzl", "zod"],
  "./interop": ["protobufjs", "yauzl", "zod"],
  "./plan": ["zod"],
  "./report": ["@observablehq/plot", "cli-table3", "linkedom", "yauzl", "zod"],
  "./cuda": [],
  "./blas": [],
};

Deno.test("an entry loads the packages that it needs and no other: no plotting, no DuckDB", async () => {
  const loads = await Promise.all(
    Object.entries(config.exports).map(async ([entry, path]) => [entry, await packagesOf(path)]),
  );
  assert.deepEqual(Object.fromEntries(loads), LOADS);
});

Deno.test("what an entry exports is described, and every type that it names is exported by an entry", async () => {
  using directory = new TemporaryDirectory();
  const all = moduleOf(directory, "export * from", Object.values(config.exports));
  const { code, stderr } = await deno(["doc", "--lint", "--config", "deno.json", all]);
  assert.equal(code, 0, stderr.slice(stderr.indexOf("error")));
});

/** What `deno doc --json` writes, as far as it is read here. */
interface Documentation {
  nodes: Record<string, { symbols: { name: string; declarations: { kind: string }[] }[] }>;
}

/** Functions of entries without an example that is run, and why. */
const WITHOUT_EXAMPLE: Record<string, string> = {
  openWorld: "joins processes that mpirun starts",
  diagnose: "measures this machine for seconds",
};

Deno.test("every function that an entry exports is called in an example that is run", async () => {
  const paths = Object.values(config.exports);
  const { stdout } = await deno(["doc", "--json", ...paths]);
  const nodes = Object.values((JSON.parse(stdout) as Documentation).nodes).flatMap(({ symbols }) => symbols);
  const functions = nodes.flatMap(({ name, declarations }) =>
    declarations.some(({ kind }) => kind === "function") ? [name] : []
  );
  assert.ok(functions.length >= 30, functions.join());
  const examples = paths.map((path) => Deno.readTextFileSync(new URL(path, ROOT)))
    .flatMap((text) => [...text.matchAll(/```ts\n([^]*?)```/g)].map(([, code]) => code)).join("\n");
  const missing = [...new Set(functions)].filter((name) => !new RegExp(`\\b${name}\\(`).test(examples));
  assert.deepEqual(missing.sort(), Object.keys(WITHOUT_EXAMPLE).sort());
});

Deno.test("the main entry's documentation fits on three screens, and lists every entry", async () => {
  const { stdout } = await deno(["doc", "mod.ts"]);
  assert.ok(stdout.split("\n").length <= 150);
  for (const entry of Object.keys(config.exports)) {
    assert.match(stdout, new RegExp(`@hotset/hotset${entry.slice(1)}\\W`));
  }
});

Deno.test("the package can be published, with everything that its entries load and none of the tests", async () => {
  const { code, stderr } = await deno(["publish", "--dry-run", "--allow-dirty", "--no-check"]);
  assert.equal(code, 0, stderr.slice(stderr.indexOf("error")));
  const files = [...stderr.matchAll(/^ +(file:\/\/\S+) \(/gm)].map(([, url]) => url.slice(ROOT.href.length));
  assert.deepEqual(FILES.filter((path) => !files.includes(path)), []);
  assert.deepEqual(files.filter((path) => /^(tests|bench|tools|examples|\.)/.test(path)), []);
});

Deno.test("only files under ffi/ and emulator/ open libraries or read memory by address", () => {
  const unsafe = [...FILES, ...sources("tests"), ...sources("bench"), ...sources("tools")].filter((path) =>
    path !== "tests/architecture_test.ts" && /Deno\.(dlopen|Unsafe)/.test(Deno.readTextFileSync(new URL(path, ROOT)))
  );
  assert.ok(unsafe.includes("ffi/library.ts"));
  assert.deepEqual(unsafe.filter((path) => !FOREIGN.includes(path)), []);
});

Deno.test("a foreign function or constant that ffi/ declares is used by the product or a bench", () => {
  const textOf = (paths: string[]) => paths.map((path) => Deno.readTextFileSync(new URL(path, ROOT))).join();
  const declared = [
    ...textOf(sources("ffi")).matchAll(
      /^ +(?:\.\.\.optional\(declare\(\{ )?(\w+): (?:\[(?:\d+, )?$|\[(?:\d+, \[)?"\w+"|\{ \.{3}|\{ type|-?\d+,$)/gm,
    ),
  ];
  const names = [...new Set(declared.map(([, name]) => name))];
  assert.ok(names.length > 150, `${names.length} names`);
  const users = textOf([...["ffi", "src", "bench", "tools"].flatMap(sources)]);
  assert.deepEqual(names.filter((name) => mentions(users, name) < 2), []);
});

Deno.test("no program is started, by a shell or without one", () => {
  const starting = FILES.filter((path) =>
    /Deno\.Command|child_process|Deno\.run\b/.test(Deno.readTextFileSync(new URL(path, ROOT)))
  );
  assert.deepEqual(starting, []);
});

/** Files of more lines, and why. */
const LONGER: Record<string, string> = {};
const MAX_LINES = 400;

Deno.test(`no file has more than ${MAX_LINES} lines without a reason`, () => {
  const folders = ["src", "ffi", "emulator", "cli", "mod", "tests", "bench", "tools", "examples"];
  const written = folders.flatMap((folder) => filesUnder(folder, /\.(ts|cu|h|cpp)$/));
  assert.ok(written.length > FILES.length);
  const linesOf = (path: string) => Deno.readTextFileSync(new URL(path, ROOT)).split("\n").length - 1;
  assert.deepEqual(written.filter((path) => linesOf(path) > MAX_LINES), Object.keys(LONGER));
});

/** Matches a name, private or not, but not as a part of another; AssemblyScript and CUDA add suffixes to some. */
function named(name: string, after = ""): RegExp {
  return new RegExp(`(?<![\\w#])#?${name}(_\\w+)?${after}`);
}

Deno.test("the path of a batch in docs/architecture.md: every function exists, and the step that calls it names it", () => {
  const text = Deno.readTextFileSync(new URL("docs/architecture.md", ROOT));
  const rows = text.matchAll(/^\| +(\d+) \| +(\d*) \| [^|]+\| `([\w/.]+)` +\| `#?(\w+)` +\|$/gm);
  const steps = [...rows].map(([row, step, from, path, name]) => ({ row, step, from, path, name }));
  assert.ok(steps.length >= 10, `${steps.length} steps`);
  const sourceOf = (path: string) => Deno.readTextFileSync(new URL(path, ROOT));
  for (const [i, { row, step, from, path, name }] of steps.entries()) {
    assert.equal(Number(step), i + 1, row);
    assert.match(sourceOf(path), named(name, "[ (<,]"), row);
    if (from !== "") assert.match(sourceOf(steps[Number(from) - 1].path), named(name), row);
  }
});

Deno.test("names that readers know from PyTorch are exported by the files that docs/architecture.md lists", () => {
  const text = Deno.readTextFileSync(new URL("docs/architecture.md", ROOT));
  const rows = [...text.matchAll(/^\| `(\w+)` +\| `(src\/[\w/.]+)` +\|/gm)];
  const names = rows.map(([, name]) => name);
  for (const name of ["Optimizer", "ProcessGroup", "EmbeddingTables", "Layer"]) assert.ok(names.includes(name), name);
  for (const [row, name, path] of rows) {
    const exported = exportsOf(Deno.readTextFileSync(new URL(path, ROOT))).map(({ name }) => name);
    assert.ok(exported.includes(name), row);
  }
});

Deno.test("files that docs/architecture.md names exist", () => {
  const text = Deno.readTextFileSync(new URL("docs/architecture.md", ROOT));
  const paths = [...text.matchAll(/`((?:src|cli|mod|tests|tools|ffi|docs)\/[\w/.]*)`/g)].map(([, path]) => path);
  assert.ok(paths.length > 30, `${paths.length} paths`);
  assert.deepEqual(paths.filter((path) => !existsSync(new URL(path, ROOT))), []);
});

Deno.test("files that CONTRIBUTING.md names are there", () => {
  const text = Deno.readTextFileSync(new URL("CONTRIBUTING.md", ROOT));
  const paths = [...text.matchAll(/`((?:src|cli|mod|tests|tools|ffi|\.ci)\/[\w/.]*)`/g)].map(([, path]) => path);
  assert.ok(paths.length > 20, `${paths.length} paths`);
  assert.deepEqual(paths.filter((path) => !existsSync(new URL(path, ROOT))), []);
});

Deno.test("docs/operations.md lists the environment variables that Hotset reads", () => {
  const variables = (paths: string[]) => {
    const text = paths.map((path) => Deno.readTextFileSync(new URL(path, ROOT))).join();
    return [...new Set(text.match(/HOTSET_[A-Z_]+/g))].filter((name) => name !== "HOTSET_MPI_PATIENCE").sort();
  };
  assert.deepEqual(variables(["docs/operations.md"]), variables(FILES));
});

/** Paths of the files that belong to the project, or undefined where git cannot tell. */
function trackedFiles(): string[] | undefined {
  try {
    const { success, stdout } = new Deno.Command("git", { args: ["ls-files"], cwd: ROOT, stderr: "null" }).outputSync();
    return success ? new TextDecoder().decode(stdout).trimEnd().split("\n") : undefined;
  } catch {
    return undefined;
  }
}

const tracked = trackedFiles();

/** What belongs to one machine: folders of users and of temporary files, and hosts that packages are fetched from. */
const OF_ONE_MACHINE = /(?<![\w.$}*])\/(tmp|work|root|home|opt)\/|\bregistry\.|"tarball"/;

Deno.test({
  name: "no file names a path or a package host of one machine" +
    (tracked ? "" : " (skipped: this is no git checkout)"),
  ignore: tracked === undefined,
  fn() {
    const found = tracked!.filter((path) => path !== "tests/architecture_test.ts").flatMap((path) => {
      const lines = Deno.readTextFileSync(join(ROOT.pathname, path)).split("\n");
      return lines.flatMap((line, i) => OF_ONE_MACHINE.test(line) ? [`${path}:${i + 1}: ${line.slice(0, 100)}`] : []);
    });
    assert.deepEqual(found, []);
  },
});
