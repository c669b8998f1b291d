/** Runs the examples as a reader would. */
import assert from "node:assert/strict";
import { TemporaryDirectory } from "../support/temporary.ts";

const EXAMPLES = new URL("../../examples/", import.meta.url);

/** The path of an example. */
export function example(name: string): string {
  return new URL(name, EXAMPLES).pathname;
}

/** Names of all examples. */
export function examples(): string[] {
  return [...Deno.readDirSync(EXAMPLES)].map(({ name }) => name).filter((name) => name !== "README.md");
}

/** Runs a command to its end, which must succeed, and returns its output. */
export async function succeed(cwd: string, command: string, args: string[], env: Record<string, string> = {}) {
  const process = new Deno.Command(command, { args, cwd, env: { NO_COLOR: "1", ...env } });
  const { code, ...bytes } = await process.output();
  const [stdout, stderr] = [bytes.stdout, bytes.stderr].map((stream) => new TextDecoder().decode(stream));
  assert.equal(code, 0, `${command} ${args.join(" ")}\n${stderr}`);
  return { stdout, stderr };
}

/** Runs an example in TypeScript and returns what it printed to stdout. */
export async function runExample(cwd: string, name: string, ...args: string[]): Promise<string> {
  return (await succeed(cwd, Deno.execPath(), ["run", "-A", "--no-check", example(name), ...args])).stdout;
}

/** A directory with clicks.csv and with `run`, trained on it by the example. */
export async function trainedExample(rows: number) {
  const directory = new TemporaryDirectory();
  await runExample(directory.path, "clicks.ts", "clicks.csv", `${rows}`);
  const trained = await runExample(directory.path, "train_csv.ts", "clicks.csv", "run");
  return { directory, trained };
}
