/**
 * Where the thread that queues the steps of mode `cached` spends its time: runs a command line of hotset and then prints,
 * for each operation, milliseconds in all, calls, and microseconds a call. Operations contain each other.
 *
 *     deno run -A bench/cached_host_time.ts train DATASET --mode cached --device cuda ...
 */
import { CpuBackend } from "../src/backend/cpu/cpu.ts";
import { CudaDownload } from "../src/backend/cuda/download.ts";
import { Transfers } from "../src/backend/cuda/transfers.ts";
import { DeviceCache } from "../src/embedding/device_cache.ts";
import { LookAheadPlan } from "../src/embedding/look_ahead_plan.ts";
import { Rank } from "../src/ranks/rank.ts";
import { RankGroup } from "../src/ranks/rank_group.ts";

const totals = new Map<string, { milliseconds: number; calls: number }>();

/** Adds up the time of a method of all objects of a class. */
function time(of: { readonly name: string; readonly prototype: object }, ...names: string[]): void {
  const methods = of.prototype as Record<string, (...parameters: unknown[]) => unknown>;
  for (const name of names) {
    const method = methods[name];
    const total = { milliseconds: 0, calls: 0 };
    totals.set(`${of.name}.${name}`, total);
    methods[name] = function (...parameters) {
      const begin = performance.now();
      try {
        return method.apply(this, parameters);
      } finally {
        total.milliseconds += performance.now() - begin;
        total.calls++;
      }
    };
  }
}

time(RankGroup, "acquire", "train");
time(DeviceCache, "announce", "prepareToTrain", "finish");
time(LookAheadPlan, "announce", "next", "finish");
time(CpuBackend, "packRows", "unpackRows");
time(Transfers, "upload");
time(CudaDownload, "wait");
time(Rank, "execute");
globalThis.addEventListener("unload", () => {
  for (const [name, { milliseconds, calls }] of totals) {
    const each = calls === 0 ? 0 : milliseconds / calls * 1000;
    console.error(`${name.padEnd(28)} ${milliseconds.toFixed(0).padStart(8)} ms ${calls} ${each.toFixed(0)} us`);
  }
});
await import("../cli.ts");
