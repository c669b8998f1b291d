/**
 * Trains a run with rows on disk until it is killed during a compaction.
 *
 * deno run -A tests/support/killed_compaction.ts DATASET OUT CONFIG
 */
import { Dataset } from "../../src/dataset/dataset.ts";
import { startRun } from "../../src/run/run.ts";
import { failStores } from "./failing_store.ts";

const [dataset, out, config] = Deno.args;
using _ = failStores({ after: 2, kind: "kill" });
await startRun(JSON.parse(config), Dataset.open(dataset), { out, report: () => {} });
