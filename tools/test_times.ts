/**
 * The processor time of each test file, including the processes that it starts; other work on the machine hardly
 * changes it. Each file runs alone; the most expensive files are printed first.
 *
 *     deno task test:times                     the files of deno task test
 *     deno task test:times tests/cli FILE...   those of a folder, or named ones
 */
import { relative } from "node:path";
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("../", import.meta.url));

/** Test files below a path, without those that run only under `deno task test:all`. */
function testFiles(path: string): string[] {
  if (Deno.statSync(path).isFile) return [path];
  return [...Deno.readDirSync(path)].flatMap(({ name, isDirectory }) => {
    const inside = `${path}/${name}`;
    if (isDirectory) return testFiles(inside);
    return name.endsWith("_test.ts") && !name.endsWith("_slow_test.ts") ? [inside] : [];
  });
}

/** Seconds of processor time of a test file, including the processes that it starts. */
async function cost(file: string): Promise<{ seconds: number; passed: boolean }> {
  const command = `TIMEFORMAT='%U %S'; time "$0" test -A -q --no-check "$1" >/dev/null 2>&1`;
  const { code, stderr } = await new Deno.Command("bash", { args: ["-c", command, Deno.execPath(), file], cwd: ROOT })
    .output();
  const [user, system] = new TextDecoder().decode(stderr).trim().split(" ").map(Number);
  return { seconds: user + system, passed: code === 0 };
}

const files = (Deno.args.length === 0 ? ["tests"] : Deno.args).flatMap((path) => testFiles(`${ROOT}${path}`));
const costs: { file: string; seconds: number; passed: boolean }[] = [];
for (const file of files) costs.push({ file: relative(ROOT, file), ...await cost(file) });
costs.sort((a, b) => b.seconds - a.seconds);
for (const { file, seconds, passed } of costs) {
  console.log(`${seconds.toFixed(1).padStart(7)} s  ${file}${passed ? "" : "  FAILED"}`);
}
const total = costs.reduce((sum, { seconds }) => sum + seconds, 0);
console.log(`${total.toFixed(1).padStart(7)} s of processor time in ${costs.length} files`);
