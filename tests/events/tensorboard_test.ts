/** Event files of TensorBoard, read back by another implementation of protocol buffers. */
import assert from "node:assert/strict";
import protobuf from "protobufjs";
import { crc32c, TensorBoardLog } from "../../src/events/tensorboard.ts";
import type { RunEvent } from "../../src/events/events.ts";
import { startRun } from "../../src/run/run.ts";
import { CONFIG, dataOf } from "../support/small_run.ts";
import { TemporaryDirectory } from "../support/temporary.ts";

const EVENT = protobuf.parse(`
syntax = "proto3";
message Value { string tag = 1; float simple_value = 2; }
message Summary { repeated Value value = 1; }
message Event { double wall_time = 1; int64 step = 2; string file_version = 3; Summary summary = 5; }
`).root.lookupType("Event");

interface Read {
  wallTime: number;
  step?: number;
  fileVersion?: string;
  summary?: { value: { tag: string; simpleValue: number }[] };
}

/** The events of a file, with checksums as TFRecords define them. */
function readEvents(path: string): Read[] {
  const bytes = Deno.readFileSync(path);
  const view = new DataView(bytes.buffer);
  const checked = (from: number, length: number) => {
    const sum = crc32c(bytes.subarray(from, from + length));
    const masked = Number((BigInt(sum >>> 15) | (BigInt(sum) << 17n) & 0xffffffffn) + 0xa282ead8n & 0xffffffffn);
    assert.equal(view.getUint32(from + length, true), masked);
    return bytes.subarray(from, from + length);
  };
  const events: Read[] = [];
  for (let at = 0; at < bytes.length;) {
    checked(at, 8);
    const length = Number(view.getBigUint64(at, true));
    const message = EVENT.decode(checked(at + 12, length));
    events.push(EVENT.toObject(message, { longs: Number }) as Read);
    at += 16 + length;
  }
  return events;
}

Deno.test("CRC-32C has the values of RFC 3720", () => {
  assert.equal(crc32c(new TextEncoder().encode("123456789")), 0xe3069283);
  assert.equal(crc32c(new Uint8Array(32)), 0x8a9136aa);
  assert.equal(crc32c(new Uint8Array(32).fill(0xff)), 0x62a8ab43);
});

Deno.test("the figures of a run are in an event file of its folder, with steps and times", async () => {
  using directory = new TemporaryDirectory();
  const events: (RunEvent & { readonly run?: string | undefined })[] = [];
  const out = directory.join("hotset/run-7");
  const begin = Date.now() / 1000;
  {
    using log = new TensorBoardLog(directory.join("board"));
    const report = (event: RunEvent & { readonly run?: string | undefined }) => {
      events.push(event);
      log.report(event);
    };
    await startRun({ ...CONFIG, mode: "cpu", epochs: 1, printFreq: 2 }, dataOf(directory, 300), { out, report });
  }
  assert.ok(events.length > 3 && events.every(({ run }) => run === out), "every event names its run");
  const [{ name }, ...others] = [...Deno.readDirSync(directory.join("board/run-7"))];
  assert.deepEqual(others, []);
  assert.match(name, /^events\.out\.tfevents\.\d{10}\./);
  const [first, ...read] = readEvents(directory.join("board/run-7", name));
  assert.equal(first.fileVersion, "brain.Event:2");
  assert.ok(read.every(({ wallTime }) => wallTime >= begin && wallTime <= Date.now() / 1000));
  const values = new Map(
    read.flatMap(({ step, summary }) =>
      (summary?.value ?? []).map(({ tag, simpleValue }) => [`${tag} ${step}`, simpleValue])
    ),
  );
  const valueOf = (tag: string, step: number) => values.get(`${tag} ${step}`);
  let progressed = 0;
  for (const event of events) {
    if (event.event === "progress") {
      progressed++;
      assert.equal(valueOf("train/loss", event.step), Math.fround(event.loss));
      assert.equal(valueOf("train/learning rate", event.step), Math.fround(event.learningRate));
    } else if (event.event === "evaluation") {
      assert.equal(valueOf(`${event.split}/AUC`, event.step), Math.fround(event.auc));
    } else if (event.event === "result") {
      assert.equal(valueOf(`best ${event.split}/logloss`, event.best.step), Math.fround(event.best.logloss));
    }
  }
  assert.ok(progressed >= 2);
});
