import assert from "node:assert/strict";
import { relative } from "node:path";
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("..", import.meta.url));

interface Module {
  specifier: string;
  dependencies?: { code?: { specifier?: string }; type?: { specifier?: string } }[];
}

/** Files of the project that are reachable from an entry, with what each imports. */
async function imports(entry: string): Promise<Map<string, string[]>> {
  const command = new Deno.Command(Deno.execPath(), { args: ["info", "--json", entry], cwd: ROOT, stderr: "null" });
  const { modules } = JSON.parse(new TextDecoder().decode((await command.output()).stdout)) as { modules: Module[] };
  const own = (url: string | undefined) =>
    url?.startsWith("file://") ? relative(ROOT, fileURLToPath(url)).replaceAll("\\", "/") : undefined;
  const isOwn = (path: string | undefined): path is string => path !== undefined && !path.startsWith("..");
  return new Map(
    modules.flatMap(({ specifier, dependencies = [] }) => {
      const file = own(specifier);
      const targets = dependencies.flatMap(({ code, type }) => [own(code?.specifier), own(type?.specifier)]);
      return isOwn(file) ? [[file, [...new Set(targets.filter(isOwn))]] as const] : [];
    }),
  );
}

/** The room a file belongs to, and the rooms that it may import. Every room may import itself and the common files. */
const COMMON = ["src/artifact.ts", "src/errors.ts", "src/random.ts", "src/backend/backend.ts", "deno.json"];
const ALLOWED: Record<string, string[]> = {
  "cli.ts": ["mod.ts"],
  "mod.ts": ["src/"],
  "src/report/": ["src/train/", "src/plan/", "src/profile/", "src/layout/", "src/dataset/", "src/doctor.ts"],
  "src/doctor.ts": ["src/backend/open.ts"],
  "src/plan/": ["src/train/", "src/model/", "src/profile/", "src/layout/", "src/dataset/", "src/report/format.ts"],
  "src/train/": [
    "src/model/",
    "src/layout/",
    "src/profile/",
    "src/dataset/",
    "src/collective/",
    "src/backend/open.ts",
  ],
  "src/model/": ["src/layout/", "src/collective/"],
  "src/layout/": ["src/profile/", "src/dataset/"],
  "src/profile/": ["src/dataset/"],
  "src/dataset/": [],
  "src/collective/": [],
  "src/backend/open.ts": ["src/backend/", "ffi/"],
  "src/backend/host_memory.ts": [],
  "src/backend/reference/": ["src/backend/host_memory.ts"],
  "src/backend/cpu/": ["src/backend/host_memory.ts", "ffi/"],
  "src/backend/cuda/": ["src/backend/host_memory.ts", "ffi/"],
  "ffi/": [],
};

Deno.test("imports go one way", async () => {
  const wrong: string[] = [];
  const files = new Map([
    ...await imports("cli.ts"),
    ...await imports("src/train/rank_worker.ts"),
    ...await imports("src/backend/cuda/open.ts"),
  ]);
  assert.ok(files.size > 80, `only ${files.size} files were found`);
  for (const [file, targets] of files) {
    if (COMMON.includes(file)) {
      const outside = targets.filter((target) => !COMMON.includes(target));
      wrong.push(...outside.map((target) => `${file} -> ${target}`));
      continue;
    }
    const room = Object.keys(ALLOWED).find((prefix) => file.startsWith(prefix));
    assert.ok(room !== undefined, `${file} lies in no room`);
    const may = [room, ...ALLOWED[room], ...(room === "ffi/" ? [] : COMMON)];
    const outside = targets.filter((target) => !may.some((prefix) => target.startsWith(prefix)));
    wrong.push(...outside.map((target) => `${file} -> ${target}`));
  }
  assert.deepEqual(wrong, []);
});

/** Source files under a folder. */
function* sources(folder: string): Generator<string> {
  for (const entry of Deno.readDirSync(`${ROOT}/${folder}`)) {
    const path = folder === "" ? entry.name : `${folder}/${entry.name}`;
    if (entry.isDirectory) yield* sources(path);
    else if (path.endsWith(".ts")) yield path;
  }
}

Deno.test("foreign libraries and raw pointers are touched under ffi/ alone", () => {
  const touching = ["src", "bench", "tools"].flatMap((folder) => [...sources(folder)])
    .concat("cli.ts", "mod.ts")
    .filter((path) => /Deno\.(dlopen|Unsafe)/.test(Deno.readTextFileSync(`${ROOT}/${path}`)));
  assert.deepEqual(touching, []);
  assert.match(Deno.readTextFileSync(`${ROOT}/ffi/library.ts`), /Deno\.dlopen/);
});
