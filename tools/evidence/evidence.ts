/**
 * Runs the long series whose results docs report (all kernels, all seeds, all kills; hours in all) and writes their
 * tables.
 *
 *     deno task evidence                  every part that was not run on this commit
 *     deno task evidence kernels faults   these series alone
 *     deno task evidence --list           the series, their parts, and which are complete
 *
 * Results and logs of complete parts are stored in .cache/evidence/, so that an interrupted series continues where it
 * stopped. A table is between `<!-- evidence NAME -->` and `<!-- /evidence -->` in its page, and states which parts
 * were not run. Exit status 1 if any part failed.
 */
import { parseArgs } from "node:util";
import { writeTable } from "../page_table.ts";
import { processor } from "../processor.ts";
import { type Ended, type Part, SERIES, type Series } from "./series.ts";

const ROOT = new URL("../../", import.meta.url);
const KEPT = new URL(".cache/evidence/", ROOT);

/** Stored result of a part. */
interface Done {
  readonly commit: string;
  readonly date: string;
  readonly code: number;
  readonly row: string[];
}

function output(command: string, ...args: string[]): string {
  const { stdout } = new Deno.Command(command, { args, cwd: ROOT, stderr: "inherit" }).outputSync();
  return new TextDecoder().decode(stdout).trim();
}

function fileOf(series: Series, part: Part, extension: "json" | "log"): URL {
  return new URL(`${series.name}-${part.name.replaceAll(/[^A-Za-z0-9]+/g, "-")}.${extension}`, KEPT);
}

function doneOf(series: Series, part: Part): Done | undefined {
  try {
    return JSON.parse(Deno.readTextFileSync(fileOf(series, part, "json")));
  } catch (error) {
    if (error instanceof Deno.errors.NotFound || error instanceof SyntaxError) return undefined;
    throw error;
  }
}

function keep(file: URL, content: string): void {
  Deno.mkdirSync(KEPT, { recursive: true });
  const draft = new URL(`${file}.partial`);
  Deno.writeTextFileSync(draft, content);
  Deno.renameSync(draft, file);
}

async function runPart({ args, env = {} }: Part): Promise<Ended> {
  const begin = performance.now();
  const inherited = Deno.env.toObject();
  delete inherited.OPENBLAS_CORETYPE; // may be preset for all programs of a machine
  const { code, stdout } = await new Deno.Command(Deno.execPath(), {
    args: [...args],
    cwd: ROOT,
    clearEnv: true,
    env: { ...inherited, NO_COLOR: "1", ...env },
    stdin: "null",
    stderr: "inherit",
  }).output();
  return { code, stdout: new TextDecoder().decode(stdout), seconds: (performance.now() - begin) / 1000 };
}

/** The table of a series in Markdown, with the commit and machine of the measurement. */
export function tableOf(series: Series, doneOf: (part: Part) => Done | undefined, machine: string): string {
  const line = (cells: readonly string[]) => `| ${cells.join(" | ")} |`;
  const done = series.parts.map((part) => doneOf(part));
  const rows = series.parts.map(({ name }, i) =>
    line([name, ...(done[i]?.row ?? series.columns.slice(1).map((_, column) => column === 0 ? "not run" : ""))])
  );
  const commits = [...new Set(done.flatMap((part) => part === undefined ? [] : [part.commit.slice(0, 7)]))];
  const at = commits.length === 0 ? "" : `\n\nCommit ${commits.join(", ")}, ${machine}.`;
  return [line(series.columns), line(series.columns.map(() => "---")), ...rows].join("\n") + at;
}

/** The last commit that changed what trains. */
export function commitOfCode(): string {
  return output("git", "log", "-1", "--format=%H", "--", "src", "ffi");
}

if (import.meta.main) {
  const { values, positionals } = parseArgs({ options: { list: { type: "boolean" } }, allowPositionals: true });
  const unknown = positionals.find((name) => !SERIES.some((series) => series.name === name));
  if (unknown !== undefined) {
    console.error(`error: there is no series ${unknown}; there are ${SERIES.map(({ name }) => name).join(", ")}`);
    Deno.exit(2);
  }
  const chosen = SERIES.filter(({ name }) => positionals.length === 0 || positionals.includes(name));
  const commit = output("git", "rev-parse", "HEAD");
  const machine = processor();
  for (const series of chosen) {
    for (const part of series.parts) {
      const before = doneOf(series, part);
      if (values.list || before?.commit === commit) {
        console.log(`${series.name}: ${part.name}: ${before === undefined ? "not run" : before.row.join(", ")}`);
        continue;
      }
      console.log(`${series.name}: ${part.name} ...`);
      const ended = await runPart(part);
      const row = part.row(ended);
      const done: Done = { commit, date: new Date().toISOString(), code: ended.code, row };
      keep(fileOf(series, part, "log"), ended.stdout);
      keep(fileOf(series, part, "json"), JSON.stringify(done));
      console.log(`${series.name}: ${part.name}: ${row.join(", ")}`);
      writeTable(series.page, `evidence ${series.name}`, tableOf(series, (part) => doneOf(series, part), machine));
    }
  }
  const failed = chosen.some((series) => series.parts.some((part) => (doneOf(series, part)?.code ?? 0) !== 0));
  Deno.exit(failed ? 1 : 0);
}
