/** Published data sets, for plans without data. */
import { PUBLISHED, type PublishedData } from "../dataset/published.ts";
import { UsageError } from "../errors.ts";
import type { Preset } from "../config/config.ts";

/** The data set of a preset. Throws UsageError if none is known. */
export function publishedData(preset: Preset): PublishedData {
  if (preset === "default") return PUBLISHED.kaggle;
  if (preset === "pairs") {
    throw new UsageError("Cannot plan for preset pairs: it has no data of its own; name a dataset");
  }
  if (preset === "mlperf-dcnv2") {
    throw new UsageError(
      "Cannot plan for preset mlperf-dcnv2: how many samples have all their rows among the hot ones is not known where a " +
        "feature has several ids; name a dataset",
    );
  }
  if (preset !== "taobao") return PUBLISHED[preset];
  throw new UsageError("Cannot plan for preset taobao: the popularities of its rows are not known; name a dataset");
}
