/** Runs Python, if installed, to read Hotset's files with other programs. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";

const decoder = new TextDecoder();

/** Why a Python module cannot be used; undefined if it can. */
export function missingModule(module: string): string | undefined {
  try {
    const { success } = new Deno.Command("python3", { args: ["-c", `import ${module}`], stderr: "null" }).outputSync();
    return success ? undefined : `python3 has no ${module}`;
  } catch {
    return "there is no python3";
  }
}

/** Runs a script with a JSON value on its standard input, and returns the JSON value that it prints. */
export async function runPython(script: URL, input: unknown): Promise<unknown> {
  const process = new Deno.Command("python3", {
    args: [script.pathname],
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const writer = process.stdin.getWriter();
  await writer.write(new TextEncoder().encode(JSON.stringify(input)));
  await writer.close();
  const { success, stdout, stderr } = await process.output();
  assert.ok(success, decoder.decode(stderr));
  return JSON.parse(decoder.decode(stdout));
}

/** A script that answers every line, a JSON value, with another one: loading its modules takes longer than an answer. */
export class PythonLines implements Disposable {
  readonly #process;
  readonly #lines;

  constructor(script: URL) {
    this.#process = spawn("python3", [script.pathname], { stdio: ["pipe", "pipe", "inherit"] });
    this.#lines = createInterface(this.#process.stdout)[Symbol.asyncIterator]();
  }

  async answer(input: unknown): Promise<unknown> {
    this.#process.stdin.write(`${JSON.stringify(input)}\n`);
    const { done, value } = await this.#lines.next();
    assert.ok(!done, "Python has ended; it has said why");
    return JSON.parse(value);
  }

  [Symbol.dispose](): void {
    this.#process.kill();
  }
}
