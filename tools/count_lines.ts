/**
 * Counts lines of TypeScript in version 0.1 and in a commit, by subject, and attributes the difference to features and
 * corrections, or to commits that changed design or comments alone. Prints the table of docs/architecture.md.
 *
 *     deno run -A tools/count_lines.ts [COMMIT]
 *
 * Comments and empty lines count; generated code, and kernels in CUDA, do not. COMMIT is HEAD unless given.
 */
const FIRST = "545862b"; // version 0.1

/** The folders and files of a subject, in 0.1 and later; the first match counts. */
const SUBJECTS: Readonly<Record<string, RegExp>> = {
  "datasets, profiles, layouts": /^src\/(dataset|profile|layout)\//,
  "models, embedding tables, training, runs":
    /^src\/(train|model|embedding|optimizer|loop|ranks|run|checkpoint|config|schedule|events)\//,
  "backends": /^src\/backend\//,
  "process groups, threads": /^src\/(collective|parallel|threads|team\.ts)/,
  "files and artifacts": /^src\/(storage\/|artifact|direct_file|team_writer|whole_file|output_lock|crc32)/,
  "export and import, plans, reports": /^src\/(exchange|interop|plan|report)\//,
  "serving, errors and other": /^src\//,
  "emulated device": /^(ffi\/emulated|emulator)\//,
  "foreign libraries": /^ffi\//,
  "command line and entry points": /^(cli|mod)(\.ts|\/)/,
};
/** Subjects without a limit. */
const APART = ["command line and entry points"];

/** Commits that changed neither what Hotset does nor how fast: moves, contracts, names, comments. */
const DESIGN =
  ("bff59e2 746fcbb 3648fd3 68c1f0c 1b958b5 b99e30d c446503 a4746c8 4b5c0ec 29d5d38 d77a2bb 7c97c94 89bb6b4 563918f " +
    "1bd77f2 5007a15 b13c30e 60d5bbc eb0d6e9 202a1e4 3689cc9 4421403 34cfb37 068cb28 51969f5 44edac9 f9e1853 " +
    "8bf7f56 965b3d4 7d4d33a 8c7bafa ae44789 31e6ecf 0c730af 1cbf552 ff328ab c88aea4 42d5c18 a754e27 2117615 " +
    "9c0c272 9e41427 a9ee631 f740568 3bed787 8883ed5 6799fc8 6e778da c5c8af5 8d182ef cc81e80 ecd9639 " +
    "748e0f5 d92c44b 78bcef9 a1e2d99 fabd2da 485473e 92349e7 5687080 0deba84 a8ad17c ce713a9 951643e 2d7f3b9 34bbe3e " +
    "11f41ce 8a2589c fd6af53 b500b8f 572d054 8c9f5da 5c901ae ddfe48d cf4b404 b549aa1 2e5904c 8877497 e686a58 fea1ec4 " +
    "36e9d7a a2739f4 3c49eb1 da27a99").split(" ");
const COMMENTS =
  ("ca1b166 d8dd006 3681bdc 42b3a53 350275b a6e9f8f f3b04ae 24fb2c7 2f6aba8 21ff65a 834dee1 33057c8 2594c0c a38766d " +
    "8585d38 66a2f7e ff77eda 8e62762 c3db789 7d53e62").split(" ");

function git(...args: string[]): string {
  const { success, stdout, stderr } = new Deno.Command("git", { args, cwd: import.meta.dirname! }).outputSync();
  if (!success) throw new Error(new TextDecoder().decode(stderr));
  return new TextDecoder().decode(stdout);
}

const subjectOf = (path: string): string | undefined =>
  path.endsWith(".ts") && !path.endsWith("kernels_binary.ts")
    ? Object.keys(SUBJECTS).find((name) => SUBJECTS[name].test(path))
    : undefined;

/** Lines of each subject in a commit. */
function linesOf(commit: string): Map<string, number> {
  const lines = new Map<string, number>();
  for (const path of git("ls-tree", "-r", "--full-tree", "--name-only", commit).split("\n")) {
    const subject = subjectOf(path);
    if (subject === undefined) continue;
    lines.set(subject, (lines.get(subject) ?? 0) + git("show", `${commit}:${path}`).split("\n").length - 1);
  }
  return lines;
}

/** Net lines that commits after the first one added to each subject. */
function netLines(commits: readonly string[]): Map<string, number> {
  const net = new Map<string, number>();
  for (const commit of commits) {
    for (const line of git("show", "--no-renames", "--numstat", "--format=", commit).split("\n")) {
      const [added, removed, path] = line.split("\t");
      const subject = path === undefined ? undefined : subjectOf(path);
      if (subject !== undefined) net.set(subject, (net.get(subject) ?? 0) + Number(added) - Number(removed));
    }
  }
  return net;
}

const [last = "HEAD"] = Deno.args;
const columns = [linesOf(FIRST), netLines(DESIGN), netLines(COMMENTS), linesOf(last)];
const row = (name: string, values: readonly number[]) => {
  const [first, design, comments, now] = values;
  const cells = [first, design, comments, now - first - design - comments, now];
  console.log(`| ${name} | ${cells.map((value) => value.toLocaleString("en")).join(" | ")} |`);
};
const valuesOf = (name: string) => columns.map((column) => column.get(name) ?? 0);

console.log(
  "| subject | 0.1 | design | comments | features, corrections | now |\n| --- | --: | --: | --: | --: | --: |",
);
const limited = Object.keys(SUBJECTS).filter((name) => !APART.includes(name));
for (const name of limited) row(name, valuesOf(name));
row("all", limited.map(valuesOf).reduce((sum, values) => sum.map((value, i) => value + values[i])));
for (const name of APART) row(name, valuesOf(name));
