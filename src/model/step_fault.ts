/** How a rank reports that a step must not update anything, in a message that the coordinator recognises. */

/** What of a step is not a finite number. */
export interface StepFault {
  readonly what: string;
  readonly step: number;
}

/** The message. */
export function faultMessage({ what, step }: StepFault): string {
  return `the ${what} of step ${step} is not a finite number`;
}

/** The fault that such a message reports, whatever stands around it; undefined for other messages. */
export function faultOf(message: string): StepFault | undefined {
  const match = /the (loss|gradient norm) of step (\d+) is not a finite number/.exec(message);
  return match === null ? undefined : { what: match[1], step: Number(match[2]) };
}
