/** The configuration that a run on a dataset has. */
import type { TrainConfig } from "../config/config.ts";
import type { ConfigByData, DataShape } from "../config/config_by_data.ts";
import type { Dataset } from "../dataset/dataset.ts";
import type { Report } from "../events/events.ts";
import { count } from "../format.ts";
import type { RunOptions } from "./run_options.ts";

/** The configuration as far as it is known before the data. */
export function configBefore(given: TrainConfig | ConfigByData): TrainConfig {
  return typeof given === "function" ? given() : given;
}

/** What the configuration of a run on a dataset depends on. */
export function shapeOfData(dataset: Dataset, { from, schedule }: Pick<RunOptions, "from" | "schedule">): DataShape {
  const { denseFeatures, tables } = dataset;
  return {
    denseFeatures,
    tables,
    trainSamples: dataset.samples("train"),
    validationSamples: dataset.samples("validation"),
    further: from !== undefined,
    scheduled: schedule !== undefined,
  };
}

/** The configuration for data, with a note if the data has decided the preset or the number of epochs. */
export function configFor(given: TrainConfig | ConfigByData, data: DataShape, report: Report): TrainConfig {
  if (typeof given !== "function") return given;
  const [config, usual] = [given(data), given()];
  if (config.model !== usual.model) report({ event: "note", text: pairsNote(config) });
  else if (config.epochs !== usual.epochs) report({ event: "note", text: epochsNote(config, usual, data) });
  return config;
}

/** Note about preset `pairs`. */
function pairsNote({ model, optimizer, epochs }: TrainConfig): string {
  return "The data is two sparse features alone, so the preset is pairs, which ranks such data better than the default " +
    `(model ${model}, ${optimizer}, ${epochs} epoch${epochs === 1 ? "" : "s"}); --model dlrm has the default`;
}

/** Note about the epochs of a small log. */
function epochsNote({ epochs }: TrainConfig, usual: TrainConfig, { trainSamples = 0 }: DataShape): string {
  return `The log is small (${count(trainSamples)} train samples), so training takes ${epochs} epochs and keeps the ` +
    `checkpoint that is the best on the validation split; choose --epochs ${usual.epochs} for less time`;
}
