/**
 * The error message with which a rank stops a step before it updates anything. The coordinator recognises it by its
 * text, because only messages cross threads.
 */

/** The value that is not finite: the loss or the gradient norm, and its step. */
export interface StepFault {
  readonly what: string;
  readonly step: number;
}

/** The message of a fault. */
export function faultMessage({ what, step }: StepFault): string {
  return `the ${what} of step ${step} is not a finite number`;
}

/** The fault that is described anywhere in a message; undefined if there is none. */
export function faultOf(message: string): StepFault | undefined {
  const match = /the (loss|gradient norm) of step (\d+) is not a finite number/.exec(message);
  return match === null ? undefined : { what: match[1], step: Number(match[2]) };
}
