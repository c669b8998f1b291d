/** Runs one part of the first run on a GPU: a process with a time limit, whose output is stored line by line. */

/** A part. */
export interface Part {
  readonly name: string;
  /** What it shows, a sentence. */
  readonly text: string;
  /** It is ended after so many seconds. */
  readonly limit: number;
  /** Why it cannot run here; undefined if it can. */
  readonly skip?: string | undefined;
  readonly command: readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
}

/** How a part went. */
export interface Outcome {
  readonly name: string;
  readonly text: string;
  readonly command: string;
  readonly status: "ok" | "failed" | "timed out" | "skipped";
  /** Why it failed or was skipped; empty if it went well. */
  readonly reason: string;
  readonly seconds: number;
  /** The JSON objects among the lines that it printed, in order. */
  readonly events: readonly Readonly<Record<string, unknown>>[];
  /** The other lines, the last of them if there are many. */
  readonly lines: readonly string[];
}

const MAX_LINES = 200;
/** Exit status of a part that cannot run here; its last line says why. */
const SKIPPED = 77;

/** Runs a part and leaves all that it prints in `log`. Never throws for what the part does. */
export async function runPart(
  { name, text, limit, skip, command, environment = {} }: Part,
  log: string,
): Promise<Outcome> {
  const begin = performance.now();
  const [program, ...args] = command;
  const outcome = (status: Outcome["status"], reason: string, output = ""): Outcome => {
    const { events, lines } = split(output);
    const seconds = (performance.now() - begin) / 1000;
    return { name, text, command: command.join(" "), status, reason, seconds, events, lines: lines.slice(-MAX_LINES) };
  };
  if (skip !== undefined) return outcome("skipped", skip);
  let late = false;
  let child: Deno.ChildProcess;
  try {
    const env = { NO_COLOR: "1", PYTHONUNBUFFERED: "1", ...environment };
    child = new Deno.Command(program, { args, env, detached: true, stdin: "null", stdout: "piped", stderr: "piped" })
      .spawn();
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return outcome("skipped", `there is no ${program} here`);
    throw error;
  }
  const alarm = setTimeout(() => {
    late = true;
    Deno.kill(-child.pid, "SIGKILL"); // with the processes that it started, which would hold its output open
  }, 1000 * limit);
  using file = Deno.openSync(log, { write: true, create: true, truncate: true });
  const keep = async (stream: ReadableStream<Uint8Array>) => {
    for await (const bytes of stream) file.writeSync(bytes);
  };
  await Promise.all([keep(child.stdout), keep(child.stderr)]);
  const { code } = await child.status;
  clearTimeout(alarm);
  const output = Deno.readTextFileSync(log);
  if (late) return outcome("timed out", `it was ended after ${limit} s`, output);
  if (code === SKIPPED) return outcome("skipped", output.trim().split("\n").at(-1)!);
  return code === 0 ? outcome("ok", "", output) : outcome("failed", `exit status ${code}`, output);
}

/** Lines that are JSON objects, and the others. */
function split(output: string): Pick<Outcome, "events" | "lines"> {
  const events: Record<string, unknown>[] = [];
  const lines: string[] = [];
  for (const line of output.split("\n")) {
    try {
      if (line.startsWith("{")) events.push(JSON.parse(line));
      else if (line.trim() !== "") lines.push(line);
    } catch {
      lines.push(line); // a line that was cut off, or another program's own braces
    }
  }
  return { events, lines };
}
