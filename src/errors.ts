/** The errors that users see. Everything else that is thrown is a defect of Hotset. */

/**
 * A failure that a user can act on. The command line prints its message as one line and exits with code 1.
 * Messages read "Cannot X: reason" and name the file, line or call and the way out.
 */
export class HotsetError extends Error {
  /** Name of the class. */
  override name = "HotsetError";
  /** What the process exits with when this error ends it. */
  readonly exitCode: number = 1;
}

/** Flags or arguments that make no sense together. Exits with code 2. */
export class UsageError extends HotsetError {
  /** Name of the class. */
  override name = "UsageError";
  /** What the process exits with when this error ends it. */
  override readonly exitCode = 2;
}

/** The text of anything that was thrown. Of a system's error it is the reason alone: the context names call and path. */
export function messageOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  // "File exists (os error 17): open 'a'", as Deno has it, and "EEXIST: file already exists, open 'a'", as Node does.
  return error.message.replace(/ \(os error \d+\)(: [^]*)?$/, "").replace(/^E[A-Z0-9]+: ([^]*?), \w+( '[^]*')?$/, "$1");
}
