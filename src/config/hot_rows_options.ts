/** Options of training: hot rows, and the order of hot and cold batches. */
import { bytes } from "../format.ts";
import { MAX_RATE, MIN_RATE } from "../schedule/shuffle_scheduler.ts";
import { natural, number, oneOf, optionsIn, type OptionsOf, PROFILED, readBytes, type RuleOn } from "./option_types.ts";
import type { PlacementConfig } from "./placement_options.ts";

/** The part of a configuration with the hot rows, and the order of hot and cold batches; see `TrainConfig`. */
export interface HotRowsConfig {
  /** Budget of the hot rows, or in mode cached of the rows on the device, with their optimizer state, in bytes. */
  hotMemory: number;
  /**
   * Percent of the batches of each kind in the first turn; the scheduler halves and doubles it during training.
   */
  schedulerRate: number;
  /** Kind of batches at the beginning of each turn in mode fae. */
  firstTurn: "hot" | "cold";
  /** Whether a turn takes that percent of the batches of the epoch, or of those that are left of it. */
  turns: "equal" | "shrinking";
  /** Percent of samples that the profile logs; null to use exact counts if they are known. */
  sampleRate: number | null;
}

/** The part of a configuration that rules of these options depend on. */
type Context = HotRowsConfig & Pick<PlacementConfig, "mode">;
/** Returns why an option has no effect; undefined if it has one. */
type Rule = RuleOn<Context>;

/** For options about hot rows or the order of hot and cold batches. */
const hotRule: Rule = ({ mode }) =>
  mode === "fae" ? undefined : `with --mode ${mode}: only mode fae has hot rows and batches; choose --mode fae`;

/** For the memory of rows on the device, or of hot rows on a CPU. */
const hotMemoryRule: Rule = ({ mode }) =>
  mode === "fae" || mode === "cached"
    ? undefined
    : `with --mode ${mode}: only modes fae and cached have a budget of rows; choose --mode fae`;

const HOT_MEMORY = 512 * 2 ** 20;

const option = optionsIn<Context>("Hot rows and batches (mode fae):");

/** The options, by their keys in a configuration. */
export const HOT_ROWS_OPTIONS: OptionsOf<HotRowsConfig, Context> = {
  hotMemory: option(
    "--hot-memory <bytes>",
    "memory budget of hot rows, or in mode cached of rows on the device, with their state",
    {
      type: natural,
      read: readBytes,
      default: HOT_MEMORY,
      shown: bytes(HOT_MEMORY).replace(" ", ""),
      commands: PROFILED,
      rules: [hotMemoryRule],
      impliedMode: "fae",
      aliases: [{ flag: "--hot-emb-gpu-mem" }],
    },
  ),
  schedulerRate: option(
    "--scheduler-rate <percent>",
    "percent of each kind of batch to run before switching (hot/cold); adapts during training",
    {
      type: number(`from ${MIN_RATE} to ${MAX_RATE}`, MIN_RATE, MAX_RATE),
      default: 50,
      rules: [hotRule],
      impliedMode: "fae",
    },
  ),
  firstTurn: option("--first-turn <kind>", "kind of batches that each turn begins with", {
    type: oneOf(["hot", "cold"]),
    before: "cold",
    rules: [hotRule],
    impliedMode: "fae",
  }),
  turns: option(
    "--turns <how>",
    "equal: each turn takes that percent of the epoch; shrinking: of what is left, so that an epoch ends mixed",
    {
      type: oneOf(["equal", "shrinking"]),
      before: "equal",
      rules: [hotRule],
      impliedMode: "fae",
    },
  ),
  sampleRate: option("--sample-rate <percent>", "percent of the samples to profile", {
    type: number("above 0, at most 100", 0, 100, false).nullable(),
    default: null,
    shown: "exact counts of all samples",
    commands: ["train", "import", "profile", "layout"],
    rules: [hotRule],
    impliedMode: "fae",
    aliases: [{ flag: "--ip-sampling-rate" }],
  }),
};
