/** Errors that end training, with the checkpoint from which it can be resumed. */
import { HotsetError } from "../errors.ts";
import { PeerFailed } from "../parallel/process_group.ts";

/**
 * The error of diverged training: the reason, the bad value of the model, and the last good checkpoint, if there is
 * one.
 */
export function diverged(
  reason: string,
  bad: string,
  { learningRate }: { readonly learningRate: number },
  saved: string | undefined,
): HotsetError {
  return new HotsetError(
    `Cannot continue training: ${reason}; ${bad}; ` +
      (saved === undefined ? "no checkpoint was saved; " : `the last good checkpoint is ${saved}; `) +
      `start again in another --out with a --learning-rate below ${learningRate}, or with --lr-num-warmup-steps` +
      (saved === undefined ? "" : `, and with --from ${saved} to keep what was learned`),
    { code: "diverged" },
  );
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
