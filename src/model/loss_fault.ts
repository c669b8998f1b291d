/** How a rank says that a step's loss is not a number, in words that the coordinator knows again. */

/** The message. */
export function lossFault(step: number): string {
  return `the loss of step ${step} is not a finite number`;
}

/** The step that such a message names, whatever stands around it; undefined for other messages. */
export function stepOfLossFault(message: string): number | undefined {
  const match = /the loss of step (\d+) is not a finite number/.exec(message);
  return match === null ? undefined : Number(match[1]);
}
