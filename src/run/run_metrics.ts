/** The file of a run's events, one JSON object per line. */
import { join } from "node:path";
import { attempt } from "../errors.ts";
import { writeAll } from "../storage/output_file.ts";
import type { DivergedEvent, RunEvent } from "../events/events.ts";

/** Name of the file in a run's directory. */
export const METRICS_FILE = "metrics.jsonl";

/** Appends events to a run's metrics. */
export class RunMetrics implements Disposable {
  readonly #path: string;
  readonly #file: Deno.FsFile;

  /** Opens the file and removes half a line that a killed run left at its end. Throws HotsetError. */
  constructor(run: string) {
    this.#path = join(run, METRICS_FILE);
    this.#file = attempt(`Cannot write ${this.#path}`, () => {
      const file = Deno.openSync(this.#path, { read: true, write: true, create: true });
      const complete = endOfLines(file);
      file.truncateSync(complete);
      file.seekSync(complete, Deno.SeekMode.Start);
      return file;
    });
  }

  /** Writes an event and its time, except those that are only for the terminal. Throws HotsetError if that fails. */
  write(event: RunEvent | DivergedEvent): void {
    if (event.event === "stage" || event.event === "note") return;
    const bytes = new TextEncoder().encode(JSON.stringify({ ...event, time: new Date().toISOString() }) + "\n");
    attempt(`Cannot write ${this.#path}`, () => writeAll(this.#file, bytes));
  }

  [Symbol.dispose](): void {
    this.#file.close();
  }
}

/** Position after the last complete line. */
function endOfLines(file: Deno.FsFile): number {
  const byte = new Uint8Array(1);
  let end = file.seekSync(0, Deno.SeekMode.End);
  for (; end > 0; end--) {
    file.seekSync(end - 1, Deno.SeekMode.Start);
    file.readSync(byte);
    if (byte[0] === 0x0a) break;
  }
  return end;
}
