/**
 * Time of a training step on a machine, from the work that the code of the step gives to host and devices, and the peaks
 * of data sheets. Real kernels reach a part of these peaks: docs/time_model.md compares.
 */
import { type CountedStep, type CountOptions, countStep } from "../ranks/count_memory.ts";
import type { ModelPlan } from "../model/shape.ts";
import type { BatchShape } from "../layout/batch.ts";
import type { GpuMachine } from "./machines.ts";
import type { Placement } from "./memory.ts";

/** Seconds of a step, by what takes them. */
export interface StepTime {
  /** Rows, and without devices all else, on the host. */
  readonly host: number;
  /** Copies between host and device. */
  readonly copies: number;
  /** Kernels on a device. */
  readonly device: number;
  /** Exchanges between devices. */
  readonly exchange: number;
  /**
   * All of it: while a recorded step computes, the host and the copies work for the next one; in other steps one follows the
   * other.
   */
  readonly total: number;
}

/** The time of a mode on a machine. */
export interface PlannedTime extends Placement {
  /** Ranks: devices, or cores. */
  readonly ranks: number;
  /** Of a batch whose rows are all hot; null if the mode has none. */
  readonly hot: StepTime | null;
  /** Of any other batch. */
  readonly cold: StepTime;
  /**
   * Samples/s with hot and cold batches in their shares, without reading batches and without copies of hot rows between
   * turns; null if the shares are not known.
   */
  readonly samplesPerSecond: number | null;
}

/** What times are planned for. */
export interface TimeOptions {
  readonly model: ModelPlan;
  readonly batchShape: BatchShape;
  /** Rows of the hot replica in mode fae. */
  readonly hotRows: number;
  /** Share of the samples whose rows are all hot; null where it is not known. */
  readonly hotSampleShare: number | null;
  /** Expected distinct rows of a batch. */
  readonly distinct: number;
  /** How many of them mode cached does not have on the device. */
  readonly fetched: number;
  /** Devices, or ranks on the CPU; null for one device or all cores. */
  readonly ranks: number | null;
}

/** The time of mode cached for a distinct row of a batch (plan, positions, lists) in accesses of host memory; fitted. */
const PLAN_ACCESSES = 4;

/** Time of a mode. */
export function planTime(options: TimeOptions, { mode, onDevice }: Placement, machine: GpuMachine): PlannedTime {
  const { model: plan, batchShape, hotRows, hotSampleShare } = options;
  const cached = mode === "cached";
  const wanted = options.ranks ?? (onDevice ? 1 : machine.cores);
  const ranks = Math.min(wanted, batchShape.batchSize);
  const distinct = Math.round(options.distinct);
  const fetched = Math.min(distinct, Math.round(options.fetched));
  const counted: CountOptions = {
    ...{ plan, batchShape, ranks, onDevice, tablesOnDevice: mode === "gpu", fusedBias: true },
    hotRows: mode === "fae" ? new Uint32Array(hotRows) : undefined,
    cache: cached ? { slots: 2 * distinct, batchRows: distinct } : undefined,
  };
  const time = (hot: boolean) => {
    const step = countStep(counted, { distinct: hot ? Math.min(distinct, hotRows) : distinct, hot, fetched });
    const planned = { bytes: 0, flops: 0, rows: PLAN_ACCESSES * distinct };
    const host = { ...step.host, kernels: [...step.host.kernels, ...cached ? [planned] : []] };
    return stepTime({ ...step, host }, ranks, machine);
  };
  const hot = mode === "fae" && hotRows > 0 ? time(true) : null;
  const cold = time(false);
  const share = hot === null ? 0 : hotSampleShare;
  const seconds = share === null ? null : share * (hot?.total ?? 0) + (1 - share) * cold.total;
  const samplesPerSecond = seconds === null ? null : batchShape.batchSize / seconds;
  return { mode, onDevice, ranks, hot, cold, samplesPerSecond };
}

/** Time of a counted step on `ranks` ranks, each on a core. */
export function stepTime({ host, device, bytesFromRanks }: CountedStep, ranks: number, machine: GpuMachine): StepTime {
  const launch = 1e-6 * (device.recorded ? machine.kernelMicroseconds : machine.launchMicroseconds);
  const onDevice = sum(
    device.kernels,
    ({ bytes, flops }) =>
      launch + Math.max(bytes / (1e9 * machine.deviceGbPerSecond), flops / (1e12 * machine.deviceTflops)),
  );
  const onHost = sum(host.kernels, ({ bytes, flops, rows }) =>
    Math.max(
      bytes / (1e9 * machine.hostGbPerSecond),
      flops / (1e9 * machine.coreGflops * ranks),
      1e-9 * rows * machine.rowNanoseconds / ranks,
    ));
  const copies = sum(
    device.copies,
    (bytes) => 1e-6 * machine.copyMicroseconds + bytes / (1e9 * machine.linkGbPerSecond),
  );
  const exchange = bytesFromRanks / (1e9 * machine.peersGbPerSecond);
  const total = device.recorded ? Math.max(onHost, copies, onDevice + exchange) : onHost + copies + onDevice + exchange;
  return { host: onHost, copies, device: onDevice, exchange, total };
}

function sum<T>(items: readonly T[], of: (item: T) => number): number {
  return items.reduce((total, item) => total + of(item), 0);
}
