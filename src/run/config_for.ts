/** The configuration that a run on a dataset has. */
import type { TrainConfig } from "../config/config.ts";
import type { ConfigByData, DataShape } from "../config/config_by_data.ts";
import type { Dataset } from "../dataset/dataset.ts";
import type { Report } from "../events/events.ts";

/** The configuration as far as it is known before the data. */
export function configBefore(given: TrainConfig | ConfigByData): TrainConfig {
  return typeof given === "function" ? given() : given;
}

/** What a configuration depends on, of a dataset. */
export function shapeOfData(dataset: Dataset): DataShape {
  const { denseFeatures, tables } = dataset;
  return { denseFeatures, tables, trainSamples: dataset.samples("train") };
}

/** The configuration for data, with a note if the data has decided the preset. */
export function configFor(given: TrainConfig | ConfigByData, data: DataShape, report: Report): TrainConfig {
  if (typeof given !== "function") return given;
  const config = given(data);
  if (config.model !== given().model) report({ event: "note", text: pairsNote(config) });
  return config;
}

/** Note about preset `pairs`. */
function pairsNote({ model, optimizer, epochs }: TrainConfig): string {
  return "The data is two sparse features alone, so the preset is pairs, which ranks such data better than the default " +
    `(model ${model}, ${optimizer}, ${epochs} epoch${epochs === 1 ? "" : "s"}); --model dlrm has the default`;
}
