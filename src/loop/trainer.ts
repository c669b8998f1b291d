/** The training loop: batches in the scheduler's order, evaluations, checkpoints and the result. */
import { join } from "node:path";
import { rowWords, writeStep } from "../optimizer/optimizers.ts";
import { lossWeight, writeLoss } from "../model/loss.ts";
import type { Dataset, Split } from "../dataset/dataset.ts";
import { breaks, inParts } from "../breaks.ts";
import { Interrupted, messageOf } from "../errors.ts";
import type { Batch } from "../layout/batch.ts";
import type { Layout } from "../layout/layout.ts";
import { initialiseDenseInParts } from "../model/initialise.ts";
import { faultOf } from "../model/step_fault.ts";
import { count } from "../format.ts";
import { Checkpoint, initialState, type TrainingState } from "../checkpoint/checkpoint.ts";
import { BEST_CHECKPOINT, resumePoints } from "../checkpoint/checkpoint_store.ts";
import { CheckpointWriter, type WrittenCheckpoint } from "../checkpoint/checkpoint_writer.ts";
import { NotFinite } from "../checkpoint/weights.ts";
import type { TrainConfig } from "../config/config.ts";
import { deadLayerNotes } from "../events/dead_units.ts";
import { BatchSequence } from "./batch_sequence.ts";
import { findBadTensor } from "./divergence.ts";
import { bestNote, endReason, recordMetrics, stops } from "./early_stopping.ts";
import { Diverged, withRecoveryHint } from "./end_errors.ts";
import { type Evaluation, evaluationOf, scoreSplit } from "./evaluate.ts";
import type { CheckpointMetrics, OnEvaluation, Report, ResultEvent, Spent } from "../events/events.ts";
import { checkedSchedule, type LearningRateSchedule, scheduleOf } from "../schedule/learning_rate.ts";
import type { Metrics } from "../events/metrics.ts";
import type { RankGroup } from "../ranks/rank_group.ts";
import { LossWatch } from "./loss_watch.ts";
import { peakRssBytes } from "./peak_rss.ts";
import { TrainingClock } from "./training_clock.ts";

/** Validation samples for the loss that the scheduler compares. */
const HELD_OUT_SAMPLES = 8192;
/** Milliseconds between reports of the completed share. */
const STAGE_MS = 100;
/** From this number of rows on, initialisation takes seconds and is reported. */
const MANY_ROWS = 5_000_000;
/** Bits that the processes of a run agree on: to stop, and to write a checkpoint. */
const INTERRUPTED = 1;
const DUE = 2;

/** Everything a run needs. */
export interface TrainerOptions {
  readonly config: TrainConfig;
  readonly dataset: Dataset;
  readonly layout: Layout;
  readonly group: RankGroup;
  /** Directory of the run. */
  readonly out: string;
  /** Identifies data, batches and order; a checkpoint resumes only the run with its id. */
  readonly runId: string;
  /** The model to start from; undefined to initialise one. */
  readonly from?: Checkpoint | undefined;
  /** The checkpoint to resume; undefined for a new run. */
  readonly checkpoint: Checkpoint | undefined;
  /** Time, samples and bytes spent before `checkpoint`; undefined for none. */
  readonly spent?: Spent | undefined;
  readonly report: Report;
  /** A learning-rate schedule from the caller; undefined for that of the configuration. */
  readonly schedule?: LearningRateSchedule | undefined;
  /** May end the run after an evaluation, in the same way in all processes. */
  readonly onEvaluation?: OnEvaluation | undefined;
  /** Aborting it ends the run after the present step with a checkpoint; `run` throws Interrupted. */
  readonly signal: AbortSignal;
}

export class Trainer {
  readonly #options: TrainerOptions;
  readonly #group: RankGroup;
  /** Undefined until `run` begins, and with `--no-save`. */
  #writer: CheckpointWriter | undefined;
  /** When the last checkpoint began, and for how long it stopped training. */
  #saved = { at: performance.now(), pauseSeconds: 0 };
  readonly #sequence: BatchSequence;
  readonly #state: TrainingState;
  /** The split that selects the best checkpoint; the test split only if there is no other. */
  readonly #selection: Split | undefined;
  readonly #schedule: LearningRateSchedule;
  /** Learning rate of the last step. */
  #learningRate = 0;
  readonly #losses = new LossWatch();
  /** Hot samples since the last progress event, and the clock's milliseconds at it. */
  #recent = { hotSamples: 0, elapsedMs: 0 };
  readonly #clock: TrainingClock;

  constructor(options: TrainerOptions) {
    const { config, layout, dataset, group, from, checkpoint, spent, schedule } = options;
    this.#options = options;
    this.#group = group;
    this.#clock = new TrainingClock(spent);
    this.#schedule = schedule === undefined ? scheduleOf(config) : checkedSchedule(schedule);
    this.#sequence = new BatchSequence({ config, layout, group }, checkpoint?.body.state.scheduler);
    this.#state = checkpoint?.body.state ??
      initialState(this.#sequence.scheduler.state, from?.body.state.optimizerSteps);
    this.#selection = (["validation", "test"] as const).find((split) => dataset.samples(split) > 0);
  }

  /** Trains to the end and returns the result. Throws Interrupted if the signal was aborted. */
  async run(): Promise<ResultEvent> {
    const { config, out, report } = this.#options;
    const onWritten = (written: WrittenCheckpoint) =>
      report({ event: "checkpoint", ...written, pauseSeconds: this.#saved.pauseSeconds });
    using writer = config.save ? await CheckpointWriter.start(this.#group, onWritten) : undefined;
    this.#writer = writer;
    using sequence = this.#sequence;
    await this.#begin();
    try {
      while (!this.#state.finished) {
        sequence.begin(this.#state.epoch);
        await this.#epoch();
      }
      await writer?.finish();
      if (breaks.due) await breaks.take();
    } catch (error) {
      const fault = faultOf(messageOf(error));
      if (fault !== undefined) {
        this.#fail(`the ${fault.what} of step ${fault.step} (${this.#sequence.nameOf(fault.step)}) is not a number`);
      }
      if (error instanceof NotFinite) this.#fail(error.message, "checkpoints may not contain it");
      throw config.save ? withRecoveryHint(error, out, () => this.#lastGood()) : error;
    }
    return await this.#result();
  }

  /** Adds the losses of the steps so far and returns their mean. Throws HotsetError if training has diverged. */
  #takeLoss(): number {
    const { step } = this.#state;
    const wrong = this.#losses.add(this.#group.takeLoss(), step);
    if (wrong === undefined) return this.#losses.mean;
    const first = step - (step - 1) % this.#options.config.printFreq;
    return this.#fail(`the mean loss of steps ${first} to ${step} (the last: ${this.#sequence.nameOf(step)}) ${wrong}`);
  }

  /** The last good checkpoint; undefined if there is none. */
  #lastGood(): string | undefined {
    this.#writer?.settle(); // a checkpoint that is still being written may be the last good one
    const { config, out } = this.#options;
    return config.save ? resumePoints(out)[0] : undefined;
  }

  /** Ends a diverged run; finds the bad value unless it is given. */
  #fail(reason: string, bad?: string): never {
    const saved = this.#lastGood();
    throw new Diverged(`${reason}; ${bad ?? this.#findBadTensor()}`, this.#options.config, saved);
  }

  #findBadTensor(): string {
    const { memory } = this.#group;
    if (this.#group.hasMirror) this.#group.updateMirror();
    return findBadTensor(memory, this.#tables, (position) => this.#group.rowAt(position));
  }

  get #tables(): string[] {
    return this.#options.dataset.body.tables.map(({ name }) => name);
  }

  get #steps(): number {
    return this.#options.config.epochs * this.#sequence.batches;
  }

  async #begin(): Promise<void> {
    const { config, from, checkpoint, report } = this.#options;
    const { memory } = this.#group;
    const model = checkpoint ?? from;
    const onProgress = (fraction: number) => report({ event: "stage", stage: "load", fraction });
    if (model !== undefined) {
      await this.#group.load(model, onProgress);
    } else {
      const { drawnRows } = this.#group;
      if (drawnRows > MANY_ROWS) report({ event: "note", text: `Initialising ${count(drawnRows)} rows` });
      const parameters = new Float32Array(memory.plan.denseWords);
      await inParts(initialiseDenseInParts(memory.plan, config.seed, parameters));
      await this.#group.initialise(parameters, config.seed);
    }
    // Part of the start, so that the first switch, like all others, copies only changed rows.
    await inParts(this.#group.tables.refresh());
    this.#clock.resume();
  }

  /** Trains to the end of the epoch, or to the evaluation that ends the run. */
  async #epoch(): Promise<void> {
    const { config, signal, report } = this.#options;
    let told = performance.now();
    while (!this.#sequence.ended) {
      await this.#step();
      if (this.#sequence.switches) await this.#outsideSteps(() => this.#atSwitch());
      if (this.#state.step % config.printFreq === 0) await this.#progress();
      // An epoch ends with an evaluation; a second one after the same step would count against the patience.
      const ends = this.#sequence.ended;
      if (config.testFreq > 0 && this.#state.step % config.testFreq === 0 && !ends) {
        await this.#outsideSteps(() => this.#evaluate());
        if (this.#state.finished) return;
      } else if (!ends && this.#isDueByStep()) {
        await this.#outsideSteps(() => this.#save({ step: true }));
      }
      this.#writer?.poll();
      if (performance.now() - told > STAGE_MS) {
        report({ event: "stage", stage: "train", fraction: this.#state.step / this.#steps });
        told = performance.now();
      }
      if (breaks.due) await breaks.take();
      // Clocks and signals differ between processes, but all must do the same.
      const agreed = this.#group.agree((signal.aborted ? INTERRUPTED : 0) | (this.#isDueByTime() ? DUE : 0));
      if (agreed & INTERRUPTED) await this.#interrupt();
      if (agreed & DUE && !ends) await this.#outsideSteps(() => this.#save({ step: true }));
    }
    await this.#progress();
    this.#state.epoch++;
    this.#sequence.scheduler.startEpoch();
    await this.#outsideSteps(() => this.#evaluate());
  }

  async #step(): Promise<void> {
    const { config } = this.#options;
    const slot = await this.#sequence.take(this.#state.step + 1);
    await inParts(this.#group.tables.switchTo(this.#sequence.kind === "hot"));
    const step = ++this.#state.step;
    const batch = this.#group.batches[slot];
    this.#learningRate = this.#schedule(step);
    const { optimizer, weightDecay, rowL2 } = config;
    writeStep(optimizer, batch.floats, this.#learningRate, ++this.#state.optimizerSteps, weightDecay, rowL2);
    writeLoss(batch.floats, config);
    batch.step = step;
    this.#group.train(slot);
    this.#state.samples += batch.samples;
    this.#clock.step(batch.samples);
    this.#losses.count(batch.samples, this.#weightOf(batch));
    if (this.#sequence.kind === "hot") this.#recent.hotSamples += batch.samples;
  }

  /** The sum of the weights of a batch's samples in the loss. */
  #weightOf({ samples, floats, sections }: Batch): number {
    const { config: { positiveWeight }, dataset } = this.#options;
    if (dataset.body.weight === undefined && positiveWeight === 1) return samples;
    return lossWeight(floats.subarray(sections.labels, sections.labels + samples), positiveWeight);
  }

  /** Measures the held-out loss for the scheduler. */
  async #atSwitch(): Promise<void> {
    const { dataset } = this.#options;
    if (dataset.samples("validation") === 0) return;
    await inParts(this.#group.tables.flush());
    this.#sequence.scheduler.report((await this.#score("validation", HELD_OUT_SAMPLES)).logloss);
  }

  async #progress(): Promise<void> {
    const { hotSamples, elapsedMs } = this.#recent;
    const { samples } = this.#losses;
    if (samples === 0) return;
    await this.#group.drained();
    const loss = this.#takeLoss();
    this.#losses.restart(this.#state.step);
    const now = this.#clock.elapsedMs();
    this.#recent = { hotSamples: 0, elapsedMs: now };
    this.#options.report({
      event: "progress",
      epoch: this.#state.epoch,
      epochs: this.#options.config.epochs,
      step: this.#state.step,
      steps: this.#steps,
      loss,
      samplesPerSecond: samples / ((now - elapsedMs) / 1000),
      hotShare: hotSamples / samples,
      learningRate: this.#learningRate,
      rate: this.#sequence.scheduler.state.rate,
      moved: this.#group.takeMoved(),
    });
  }

  /** Runs work that is not training without counting its time as training. */
  async #outsideSteps(work: () => Promise<void> | void): Promise<void> {
    await this.#group.drained();
    this.#clock.elapsedMs();
    await work();
    this.#clock.resume();
  }

  /** Scores the selection split, decides whether the run ends, and saves checkpoints. */
  async #evaluate(): Promise<void> {
    await inParts(this.#group.tables.flush());
    const { config, onEvaluation } = this.#options;
    const metrics = this.#selection && await this.#measure(this.#selection);
    const best = metrics !== undefined && recordMetrics(metrics, config.monitor, this.#state);
    const stopped = metrics !== undefined && stops(onEvaluation, { step: this.#state.step, ...metrics });
    this.#state.finished = stopped || endReason(config, this.#state) !== undefined;
    await this.#save({ best, step: this.#isDueByStep() || this.#isDueByTime() });
  }

  async #measure(split: Split, { epoch, step } = this.#state): Promise<Metrics> {
    const { report } = this.#options;
    const { deadUnits, deciles, ...metrics } = await this.#score(split);
    report({ event: "evaluation", split, epoch, step, ...metrics, deadUnits, deciles });
    for (const text of deadLayerNotes(this.#group.memory.plan, deadUnits, split)) report({ event: "note", text });
    return metrics;
  }

  async #score(split: Split, limit?: number): Promise<Evaluation> {
    try {
      return await evaluationOf(await scoreSplit(this.#group, this.#options.dataset, split, limit));
    } catch (error) {
      if (error instanceof NotFinite) this.#fail(error.message);
      throw error;
    }
  }

  /** True if a periodic checkpoint is due at this step. */
  #isDueByStep(): boolean {
    const { checkpointSteps } = this.#options.config;
    return checkpointSteps > 0 && this.#state.step % checkpointSteps === 0;
  }

  /** True if a periodic checkpoint is due by time. */
  #isDueByTime(): boolean {
    const { checkpointMinutes } = this.#options.config;
    const minutes = (performance.now() - this.#saved.at) / 60_000;
    return checkpointMinutes > 0 && minutes >= checkpointMinutes && this.#writer?.busy === false;
  }

  /** Begins a checkpoint of the present state; it is written while training continues. */
  async #save({ best = false, step = false } = {}): Promise<void> {
    const { config, dataset, out, runId, report } = this.#options;
    const begin = performance.now();
    this.#takeLoss(); // so that a checkpoint of a diverged model never replaces a good one
    await inParts(this.#group.tables.flush());
    await this.#group.drained();
    // Before the checkpoint, so that the totals are known whichever checkpoint a killed run resumes from.
    const spent = this.#clock.total(this.#group.takeCounts());
    if (config.save) report({ event: "spent", step: this.#state.step, ...spent });
    await this.#writer?.begin({ run: out, best, step, keep: config.keep, tables: this.#tables }, {
      model: this.#group.memory.plan.shape,
      seed: config.seed,
      dataset: dataset.id,
      run: runId,
      state: { ...this.#state, scheduler: this.#sequence.scheduler.state },
    });
    this.#saved = { at: begin, pauseSeconds: (performance.now() - begin) / 1000 };
  }

  async #interrupt(): Promise<never> {
    await this.#outsideSteps(() => this.#save());
    await this.#writer?.finish();
    const { config, out, signal } = this.#options;
    throw new Interrupted(
      `Training was interrupted at step ${this.#state.step}; ${config.save ? "a checkpoint" : "nothing"} was saved`,
      config.save ? out : undefined,
      signal.reason,
    );
  }

  /** Loads and scores the best checkpoint, unless it is the last one. */
  async #measureBest(split: Split): Promise<CheckpointMetrics | undefined> {
    const { config, out, report } = this.#options;
    if (!config.save || this.#state.evaluationsSinceBest === 0) return undefined;
    await this.#group.drained(); // so that no rank opens it before all have written it
    const checkpoint = await Checkpoint.open(join(out, BEST_CHECKPOINT), "lengths").verified();
    await this.#group.load(checkpoint, (fraction) => report({ event: "stage", stage: "load best", fraction }));
    const { state } = checkpoint.body;
    report({ event: "note", text: bestNote(state, this.#selection!) });
    return { step: state.step, ...await this.#measure(split, state) };
  }

  async #result(): Promise<ResultEvent> {
    const { config, dataset, layout, group, out } = this.#options;
    const { shape } = group.memory.plan;
    const split = (["test", "validation", "train"] as const).find((name) => dataset.samples(name) > 0)!;
    const last = { step: this.#state.step, ...await this.#measure(split) };
    const counts = group.takeCounts();
    const spent = this.#clock.total(counts);
    const rowBytes = 4 * rowWords(shape);
    const best = await this.#measureBest(split) ?? last;
    const { step: _, ...metrics } = best;
    return {
      event: "result",
      command: "train",
      mode: config.mode,
      device: group.device,
      ranks: group.ranks,
      steps: this.#state.step,
      split,
      best,
      last,
      ...spent,
      samples: this.#state.samples,
      samplesPerSecond: spent.seconds === 0 ? 0 : spent.samples / spent.seconds,
      ...metrics,
      hotSampleShare: layout.body.hotSampleShare,
      hotRows: layout.hotRows.length,
      hotBytes: layout.hotRows.length * rowBytes,
      launchesPerStep: counts.launchesPerStep,
      peakRssBytes: peakRssBytes(),
      run: out,
      ended: endReason(config, this.#state) ?? "stopped",
    };
  }
}
