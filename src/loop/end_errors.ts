/** Errors that end training, with the checkpoint from which it can be resumed. */
import { HotsetError } from "../errors.ts";
import { PeerFailed } from "../parallel/process_group.ts";

/** The error of diverged training. */
export class Diverged extends HotsetError {
  /** What is not a number, and the bad value of the model. */
  readonly reason: string;

  /** `saved` is the last good checkpoint, if there is one. */
  constructor(reason: string, { learningRate }: { readonly learningRate: number }, saved: string | undefined) {
    super(
      `Cannot continue training: ${reason}; ` +
        (saved === undefined ? "no checkpoint was saved; " : `the last good checkpoint is ${saved}; `) +
        `start again in another --out with a --learning-rate below ${learningRate}, or with --lr-num-warmup-steps` +
        (saved === undefined ? "" : `, and with --from ${saved} to keep what was learned`),
      { code: "diverged" },
    );
    this.reason = reason;
  }
}

/** Waits for the end of training. Returns why it diverged; undefined if it did not. Throws any other error. */
export async function reasonIfDiverged(training: Promise<unknown>): Promise<string | undefined> {
  try {
    await training;
    return undefined;
  } catch (error) {
    if (error instanceof Diverged) return error.reason;
    throw error;
  }
}

/**
 * Adds to an error how training can be resumed, unless it states that itself; `saved` finds the last good checkpoint of
 * `out`. Modifies the same object, because others compare its identity.
 */
export function withRecoveryHint(error: unknown, out: string, saved: () => string | undefined): unknown {
  const says = !(error instanceof HotsetError) || error instanceof PeerFailed ||
    /^(diverged|interrupted)$/.test(error.code);
  if (says) return error;
  const checkpoint = saved();
  const room = error.code === "no-space" ? "free some space, then " : "";
  error.message += checkpoint === undefined
    ? "; no checkpoint was saved"
    : `; the last good checkpoint is ${checkpoint}: ${room}continue with train --resume --out ${out}`;
  return error;
}
