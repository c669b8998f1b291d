/**
 * The table of permissions in SECURITY.md: each command runs with those of its row, and fails without any one of them.
 */
import assert from "node:assert/strict";
import { join } from "node:path";
import { Workplace } from "./support.ts";

const ROOT = new URL("../..", import.meta.url).pathname.replace(/\/$/, "");
const decoder = new TextDecoder();
const MODEL = ["--arch-mlp-bot", "13-16-8", "--arch-mlp-top", "16-1", "--batch-size", "64"];

/** The command of each row; `new` stands for a name that no other run has. */
const COMMANDS: Record<string, string[]> = {
  "generate": ["generate", "--samples", "300", "--scale", "1000", "--out", "out/new"],
  "prepare of criteo, dlrm": ["prepare", "in/log.tsv", "--out", "out/new"],
  "prepare of other formats (DuckDB)": [
    ...["prepare", "in/log.csv", "--format", "csv", "--schema", "in/schema.json", "--out", "out/new"],
  ],
  "prepare --infer (DuckDB)": ["prepare", "--infer", "in/log.csv"],
  "profile": ["profile", "out/data"],
  "layout": ["layout", "out/data"],
  "plan": ["plan", "out/data"],
  "train --device cpu, WASM kernels": ["train", "out/data", "--out", "out/new", "--device", "cpu", ...MODEL],
  "train --device cpu, OpenBLAS": ["train", "out/data", "--out", "out/new", "--device", "cpu", ...MODEL],
  "train on a GPU or the emulated device": [
    ...["train", "out/tiny", "--out", "out/new", "--device", "emulated", "--mode", "gpu", ...MODEL],
  ],
  "evaluate": ["evaluate", "out/run"],
  "predict": ["predict", "out/run", "in/log.tsv", "--out", "out/new"],
  "export": ["export", "out/run", "--format", "onnx", "--out", "out/new"],
  "pack": ["pack", "out/run", "out/new"],
  "import": ["import", "in/model.safetensors", "--data", "out/data", "--out", "out/new"],
  "reproduce of a run on the CPU": ["reproduce", "out/run"],
  "doctor": ["doctor"],
};
/** Flags that a command can do without, less well. */
const FOR_SPEED: Record<string, string[]> = {
  "train --device cpu, OpenBLAS": ["--allow-ffi"],
  "reproduce of a run on the CPU": ["--allow-ffi"], // what OpenBLAS computed differs in last bits, and that is said
  "doctor": ["--allow-read", "--allow-env", "--allow-ffi"],
};

/** The rows of the table: flags by command. */
function documented(): [command: string, flags: string[]][] {
  const rows = Deno.readTextFileSync(join(ROOT, "SECURITY.md")).split("\n").filter((line) => /^\| `/.test(line))
    .map((line) => line.split("|").slice(1, -1).map((cell) => cell.trim()));
  const environment = /--allow-env=\S+?(?=`)/.exec(rows.find(([command]) => command.includes("WASM"))![3])![0];
  return rows.map(([command, read, write, further]) => {
    const paths = (flag: string, cell: string) => {
      if (cell === "") return [];
      return cell === "everything" ? [flag] : [`${flag}=${cell.split(", ").join(",")}`];
    };
    const others = [...further.replace("the same", `\`${environment}\``).matchAll(/`([^`]*)`/g)]
      .flatMap(([, flags]) => flags.split(" "));
    return [
      command.replaceAll("`", ""),
      [...paths("--allow-read", read), ...paths("--allow-write", write), ...others],
    ];
  });
}

/** Datasets, a run and inputs, as the rows of the table use them. */
async function fill(place: Workplace): Promise<void> {
  for (const folder of ["in", "out", "tmp", "hotset"]) Deno.mkdirSync(place.join(folder));
  await place.log("in/log.tsv", 1500);
  place.write("in/log.csv", "clicked,price,city\n" + "1,2.5,a\n0,3,b\n".repeat(20));
  const columns = [
    { name: "clicked", kind: "label" },
    { name: "price", kind: "dense" },
    { name: "city", kind: "sparse" },
  ];
  place.write("in/schema.json", JSON.stringify({ columns }));
  await place.succeed("prepare", "in/log.tsv", "--out", "out/data");
  await place.succeed("generate", "--samples", "200", "--scale", "1000", "--out", "out/tiny");
  await place.succeed("train", "out/data", "--out", "out/run", "--device", "cpu", ...MODEL);
  await place.succeed("export", "out/run", "--format", "safetensors", "--out", "in/model.safetensors");
}

/** Runs `hotset` with these permissions. Returns what went wrong, or undefined. */
async function failure(
  place: Workplace,
  flags: readonly string[],
  args: readonly string[],
): Promise<string | undefined> {
  const folders: Record<string, string> = { HOTSET: ROOT, INPUT: "in", OUT: "out", CACHE: "hotset", TMP: "tmp" };
  const paths = (flag: string) =>
    /^--allow-(read|write)=/.test(flag) ? flag.replace(/[A-Z]+/g, (name) => folders[name] ?? name) : flag;
  const { success, stderr } = await new Deno.Command(Deno.execPath(), {
    args: [
      ...["run", "--no-check", "--no-prompt", "--cached-only", "--deny-net"],
      ...["--config", join(ROOT, "deno.json"), ...flags.map(paths), join(ROOT, "cli.ts"), ...args],
    ],
    cwd: place.path,
    env: { NO_COLOR: "1", TMPDIR: place.join("tmp") },
    stdin: "null",
  }).output();
  return success ? undefined : decoder.decode(stderr);
}

const ROWS = documented();

Deno.test("SECURITY.md's table has a row for every kind of command that is tested here", () => {
  assert.deepEqual(ROWS.map(([command]) => command), Object.keys(COMMANDS));
});

/** Runs tasks, as many at a time as there are cores, twice over: starting is mostly waiting. */
async function inParallel(tasks: readonly (() => Promise<void>)[]): Promise<void> {
  const waiting = [...tasks];
  await Promise.all(Array.from({ length: 2 * navigator.hardwareConcurrency }, async () => {
    for (let task = waiting.shift(); task !== undefined; task = waiting.shift()) await task();
  }));
}

Deno.test("commands and permissions", async (test) => {
  using place = new Workplace();
  await fill(place);
  const argumentsOf = (command: string, name: string) =>
    COMMANDS[command].map((word) => word.replace(/^out\/new/, `out/${name}`));

  await test.step("every command runs with the documented ones, without the network", () =>
    inParallel(ROWS.map(([command, flags], i) => async () => {
      const stderr = await failure(place, flags, argumentsOf(command, `new${i}`));
      assert.equal(stderr, undefined, `hotset ${command} with ${flags.join(" ")}`);
    })));

  // What lies in the cache is not made again.
  Deno.removeSync(place.join("hotset"), { recursive: true });
  Deno.mkdirSync(place.join("hotset"));

  await test.step("no command runs with less", async () => {
    const tasks = ROWS.flatMap(([command, flags], i) =>
      flags.filter((flag) => !FOR_SPEED[command]?.includes(flag)).map((flag, j) => async () => {
        const less = flags.filter((other) => other !== flag);
        const stderr = await failure(place, less, argumentsOf(command, `less${i}-${j}`));
        assert.match(stderr ?? "", /Requires \w+ access/, `hotset ${command} without ${flag}`);
      })
    );
    assert.ok(tasks.length > 20, `${tasks.length} runs`);
    await inParallel(tasks);
  });
});
