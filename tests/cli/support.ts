/** Runs the command line as users do: as a process, in a separate directory. */
import assert from "node:assert/strict";
import { writeCriteoLog } from "../../src/dataset/generate.ts";
import { TemporaryDirectory } from "../support/temporary.ts";

const CLI = new URL("../../cli.ts", import.meta.url).pathname;
const decoder = new TextDecoder();

function runArguments(args: readonly string[]): string[] {
  return ["run", "-A", "--no-check", CLI, ...args];
}

/** Result of a command. */
export interface Outcome {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** A directory for commands, removed when disposed. */
export class Workplace implements Disposable {
  readonly #directory = new TemporaryDirectory();

  get path(): string {
    return this.#directory.path;
  }

  /** A path in the directory. */
  join(...names: string[]): string {
    return this.#directory.join(...names);
  }

  /** Writes a file and returns its path. */
  write(name: string, content: string | Uint8Array): string {
    const path = this.join(name);
    if (typeof content === "string") Deno.writeTextFileSync(path, content);
    else Deno.writeFileSync(path, content);
    return path;
  }

  /** Writes a generated Criteo log and returns its path. */
  async log(name: string, samples: number): Promise<string> {
    const path = this.join(name);
    const fractions = { validation: 0.1, test: 0.1 };
    await writeCriteoLog(path, { shape: "kaggle", samples, seed: 7, scale: 100, drift: 0, fractions });
    return path;
  }

  /** Starts `hotset ...args` in the directory. */
  start(args: readonly string[], env: Record<string, string> = {}): Deno.ChildProcess {
    return new Deno.Command(Deno.execPath(), {
      args: runArguments(args),
      cwd: this.path,
      env: { NO_COLOR: "1", ...env },
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
  }

  /** Runs `hotset ...args` in the directory to its end. */
  run(...args: string[]): Promise<Outcome> {
    return this.runWith({}, ...args);
  }

  /** The same with additional environment variables. */
  async runWith(env: Record<string, string>, ...args: string[]): Promise<Outcome> {
    const { code, stdout, stderr } = await this.start(args, env).output();
    return { code, stdout: decoder.decode(stdout), stderr: decoder.decode(stderr) };
  }

  /** Runs `hotset ...args` with a maximum file size in KiB, like on a full disk. */
  async runLimited(kibibytes: number, ...args: string[]): Promise<Outcome> {
    const { code, stdout, stderr } = await new Deno.Command("bash", {
      // Without the trap, the signal that accompanies the error would end the process.
      args: ["-c", `trap "" XFSZ; ulimit -f ${kibibytes}; exec "$@"`, "bash", Deno.execPath(), ...runArguments(args)],
      cwd: this.path,
      env: { NO_COLOR: "1" },
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
    }).output();
    return { code, stdout: decoder.decode(stdout), stderr: decoder.decode(stderr) };
  }

  /** Runs a command that must succeed, and returns what it printed to stdout. */
  async succeed(...args: string[]): Promise<string> {
    const { code, stdout, stderr } = await this.run(...args);
    assert.equal(code, 0, `hotset ${args.join(" ")}\n${stderr}`);
    return stdout;
  }

  /**
   * Runs a command that must fail with one line that begins with "error: ", print nothing to stdout and leave the
   * directory as it was. Returns the line after "error: ", without the directory's name.
   */
  async fail(code: 1 | 2, command: string, ...args: string[]): Promise<string> {
    const before = this.files();
    const outcome = await this.run(command, "--quiet", ...args);
    const line = outcome.stderr.trimEnd().replaceAll(`${this.path}/`, "").replaceAll(this.path, ".");
    assert.ok(line.startsWith("error: ") && !line.includes("\n"), `one line of error, not:\n${outcome.stderr}`);
    assert.equal(outcome.code, code, line);
    assert.equal(outcome.stdout, "");
    assert.deepEqual(this.files(), before, "a command that fails leaves nothing");
    return line.slice("error: ".length);
  }

  /** Sorted paths of all files and directories. */
  files(directory = "."): string[] {
    return [...Deno.readDirSync(this.join(directory))].flatMap(({ name, isDirectory }) => {
      const path = directory === "." ? name : `${directory}/${name}`;
      return isDirectory ? [`${path}/`, ...this.files(path)] : [path];
    }).sort();
  }

  /** Contents of the files of an artifact, by name. */
  bits(directory: string): Record<string, Uint8Array> {
    return Object.fromEntries(this.files(directory).map((path) => [path.slice(directory.length + 1), this.read(path)]));
  }

  read(path: string): Uint8Array {
    return Deno.readFileSync(this.join(path));
  }

  [Symbol.dispose](): void {
    this.#directory[Symbol.dispose]();
  }
}

/** Starts a command and waits until it prints a matching line to one of its streams. */
export async function startUntil(place: Workplace, args: string[], stream: "stdout" | "stderr", line: RegExp) {
  const child = place.start(args);
  const text = { stdout: "", stderr: "" };
  let seen = () => {};
  const printed = new Promise<void>((resolve) => seen = resolve);
  const read = async (name: "stdout" | "stderr") => {
    for await (const chunk of child[name].pipeThrough(new TextDecoderStream())) {
      text[name] += chunk;
      if (name === stream && line.test(text[name])) seen();
    }
  };
  const done = Promise.all([read("stdout"), read("stderr"), child.status]);
  await Promise.race([printed, done.then(() => assert.fail(`it ended before ${line}:\n${text.stderr}`))]);
  return { child, end: async () => ({ code: (await done)[2].code, ...text }) };
}

/** JSON objects, one per line, without their times. */
// deno-lint-ignore no-explicit-any -- what the program printed is what the tests look into
export function jsonLines(text: string): any[] {
  return text.trimEnd().split("\n").map((line) => {
    const { time: _, ...event } = JSON.parse(line);
    return event;
  });
}

/**
 * Flags of a model with rows so long that a log of 20,000 samples has tables which are not completely hot within the
 * budget, so that there are hot and cold batches.
 */
export const WIDE_MODEL = [
  ...["--arch-mlp-bot", "13-16-64", "--arch-mlp-top", "16-1", "--ranks", "2", "--optimizer", "adagrad"],
  ...["--learning-rate", "0.02", "--batch-size", "64", "--hot-memory", "6MiB"],
];

/** Flags of a model that trains quickly. */
export const TINY_MODEL = ["--arch-mlp-bot", "13-16-8", "--arch-mlp-top", "16-1", "--ranks", "2"];
