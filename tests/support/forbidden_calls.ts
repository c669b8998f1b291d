/**
 * Trains with rows on disk while the system forbids some system calls, as containers do. Prints the notes of the run.
 *
 * deno run -A tests/support/forbidden_calls.ts DATASET OUT NUMBER...
 */
import { addressOf } from "../../ffi/pointer.ts";
import { SystemCalls } from "../../ffi/syscall.ts";
import { Dataset } from "../../src/dataset/dataset.ts";
import { startRun } from "../../src/run/run.ts";
import { CONFIG } from "./row_runs.ts";

/** Numbers of system calls: those that install a filter, and those that set up io_uring and Linux AIO. */
export const CALLS = {
  x86_64: { prctl: 157n, seccomp: 317n, ioUringSetup: 425, aioSetup: 206 },
  aarch64: { prctl: 167n, seccomp: 277n, ioUringSetup: 425, aioSetup: 0 },
}[Deno.build.arch];
const NO_NEW_PRIVILEGES = 38n, FILTER = 1n, ALL_THREADS = 1n;
const LOAD_WORD = 0x20, JUMP_IF_EQUAL = 0x15, RETURN = 0x06;
const NOT_PERMITTED = 0x00050001, ALLOW = 0x7fff0000;

/** Makes the system refuse these calls of this process with EPERM from now on. */
function forbid(numbers: readonly number[]): void {
  const system = new SystemCalls("filters");
  const instructions = [
    [LOAD_WORD, 0, 0, 0], // the number of the system call
    ...numbers.flatMap((number) => [[JUMP_IF_EQUAL, 0, 1, number], [RETURN, 0, 0, NOT_PERMITTED]]),
    [RETURN, 0, 0, ALLOW],
  ];
  const program = new Uint32Array(instructions.flatMap(([code, ifTrue, ifFalse, value]) => [
    code | ifTrue << 16 | ifFalse << 24,
    value,
  ]));
  const header = new BigUint64Array([BigInt(instructions.length), addressOf(program)]);
  const status = system.call(CALLS.prctl, NO_NEW_PRIVILEGES, 1n) ||
    system.call(CALLS.seccomp, FILTER, ALL_THREADS, addressOf(header));
  if (status !== 0) throw new Error(`no call can be forbidden: error ${status}`);
}

if (import.meta.main) {
  const [dataset, out, ...numbers] = Deno.args;
  forbid(numbers.map(Number));
  await startRun({ ...CONFIG, memory: { share: 0.05 } }, Dataset.open(dataset), {
    out,
    report: (event) => event.event === "note" && console.log(event.text),
  });
}
