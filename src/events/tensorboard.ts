/**
 * Writes the figures of runs for TensorBoard: event files, which are TFRecords of protocol buffers. A record is its length
 * (8 bytes), a checksum of the length, the data and a checksum of the data; checksums are CRC-32C, rotated and shifted
 * by a constant.
 */
import { basename, join, resolve } from "node:path";
import { attempt } from "../errors.ts";
import { writeAll } from "../storage/output_file.ts";
import type { Report, RunEvent } from "./events.ts";
import type { Metrics } from "./metrics.ts";

/** The polynomial of CRC-32C, reflected. */
const POLYNOMIAL = 0x82f63b78;
const MASK = 0xa282ead8;
const TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let rest = byte;
  for (let bit = 0; bit < 8; bit++) rest = rest & 1 ? (rest >>> 1) ^ POLYNOMIAL : rest >>> 1;
  return rest;
});

/** CRC-32C (Castagnoli) of bytes. */
export function crc32c(bytes: Uint8Array): number {
  let sum = ~0;
  for (const byte of bytes) sum = (sum >>> 8) ^ TABLE[(sum ^ byte) & 0xff];
  return ~sum >>> 0;
}

function maskedChecksum(bytes: Uint8Array): number {
  const sum = crc32c(bytes);
  return ((sum >>> 15 | sum << 17) + MASK) >>> 0;
}

/** A record with its length and checksums. */
function recordOf(data: Uint8Array): Uint8Array {
  const record = new Uint8Array(16 + data.length);
  const view = new DataView(record.buffer);
  view.setBigUint64(0, BigInt(data.length), true);
  view.setUint32(8, maskedChecksum(record.subarray(0, 8)), true);
  record.set(data, 12);
  view.setUint32(12 + data.length, maskedChecksum(data), true);
  return record;
}

/** A variable-length integer. */
function varint(value: number): number[] {
  const bytes = [];
  for (; value >= 0x80; value = Math.floor(value / 0x80)) bytes.push(value % 0x80 | 0x80);
  return [...bytes, value];
}

/** Fields of a message; each begins with its number and the kind of its value. */
const field = {
  double: (number: number, value: number) => [number << 3 | 1, ...new Uint8Array(Float64Array.of(value).buffer)],
  float: (number: number, value: number) => [number << 3 | 5, ...new Uint8Array(Float32Array.of(value).buffer)],
  integer: (number: number, value: number) => [number << 3, ...varint(value)],
  bytes: (number: number, value: ArrayLike<number>) => [
    number << 3 | 2,
    ...varint(value.length),
    ...Array.from(value),
  ],
};
const text = (value: string) => new TextEncoder().encode(value);

/** The event that begins a file. */
function versionEvent(seconds: number): Uint8Array {
  return Uint8Array.from([...field.double(1, seconds), ...field.bytes(3, text("brain.Event:2"))]);
}

/** An event with figures by name. */
function figuresEvent(seconds: number, step: number, figures: Readonly<Record<string, number>>): Uint8Array {
  const values = Object.entries(figures).filter(([, value]) => Number.isFinite(value)).flatMap(([name, value]) =>
    field.bytes(1, [...field.bytes(1, text(name)), ...field.float(2, value)])
  );
  return Uint8Array.from([...field.double(1, seconds), ...field.integer(2, step), ...field.bytes(5, values)]);
}

/** The figures of an event by their names in TensorBoard; undefined if it has none. */
function figuresOf(event: RunEvent): { step: number; figures: Record<string, number> } | undefined {
  if (event.event === "progress") {
    const { step, loss, samplesPerSecond, learningRate, hotShare, rate } = event;
    return {
      step,
      figures: {
        "train/loss": loss,
        "train/samples per second": samplesPerSecond,
        "train/learning rate": learningRate,
        "train/hot share": hotShare,
        "train/scheduler rate": rate,
      },
    };
  }
  if (event.event === "evaluation") return { step: event.step, figures: metricsOf(event.split, event) };
  if (event.event === "result") return { step: event.best.step, figures: metricsOf(`best ${event.split}`, event.best) };
  return undefined;
}

function metricsOf(of: string, { auc, prAuc, logloss, accuracy, calibration, ne, byGroup }: Metrics) {
  const figures = { AUC: auc, "PR-AUC": prAuc, logloss, accuracy, calibration, NE: ne, GAUC: byGroup?.gauc ?? NaN };
  return Object.fromEntries(Object.entries(figures).map(([name, value]) => [`${of}/${name}`, value]));
}

/** Writes the figures of each run into a folder of its name, where TensorBoard finds them. */
export class TensorBoardLog implements Disposable {
  readonly #directory: string;
  readonly #files = new Map<string, Deno.FsFile>();

  /** The directory that `tensorboard --logdir` is given. */
  constructor(directory: string) {
    this.#directory = directory;
  }

  /** Writes the figures of an event of a run. Throws HotsetError if that fails. */
  readonly report: Report = (event) => {
    const found = figuresOf(event);
    if (found === undefined || event.run === undefined) return;
    this.#append(event.run, figuresEvent(Date.now() / 1000, found.step, found.figures));
  };

  #append(run: string, event: Uint8Array): void {
    const folder = join(this.#directory, basename(resolve(run)));
    attempt(`Cannot write to ${folder}`, () => {
      writeAll(this.#files.get(folder) ?? this.#begin(folder), recordOf(event));
    });
  }

  /** Each process that trains a run writes a file of its own: TensorBoard reads all files of a folder. */
  #begin(folder: string): Deno.FsFile {
    const seconds = Date.now() / 1000;
    Deno.mkdirSync(folder, { recursive: true });
    const name = `events.out.tfevents.${Math.trunc(seconds)}.hotset.${Deno.pid}.${crypto.randomUUID().slice(0, 8)}`;
    const file = Deno.openSync(join(folder, name), { write: true, createNew: true });
    this.#files.set(folder, file);
    writeAll(file, recordOf(versionEvent(seconds)));
    return file;
  }

  [Symbol.dispose](): void {
    for (const file of this.#files.values()) file.close();
  }
}
