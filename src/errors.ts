/** The errors that users see. Everything else that is thrown is a defect of Hotset. */

/** What kinds of failure there are, for programs: the `code` of every error, and what a program can do about it. */
export const ERROR_CODES = {
  usage: "The command line or the options are contradictory: change them",
  "not-found": "A named file, dataset or run does not exist",
  denied: "The system, or Deno, denies permission",
  "no-space": "The disk is full, or too small for the output: free some space",
  occupied: "Something else exists at the output path: choose another path",
  busy: "Another process works on the same output: wait for it",
  damaged: "A file differs from what Hotset wrote: rebuild it, or use another",
  "bad-row": "A row of the data cannot be read: correct it or the schema, or use --on-bad-row skip",
  diverged: "Training diverged: train with other options",
  interrupted: "A signal ended the command: repeat it, or resume the run",
  failed: "Any other error that a user can act on; the message says how",
  defect: "A bug in Hotset",
} as const;
/** A kind of failure. */
export type ErrorCode = keyof typeof ERROR_CODES;

/** What the system's errors mean. */
const SYSTEM_CODES: Readonly<Record<string, ErrorCode>> = {
  ENOENT: "not-found",
  EACCES: "denied",
  EPERM: "denied",
  EROFS: "denied",
  ENOSPC: "no-space",
  EDQUOT: "no-space",
  EFBIG: "no-space",
};

/** How an error is made: what caused it, and its kind where the cause does not say it. */
export interface HotsetErrorOptions extends ErrorOptions {
  /** Default the cause's kind, or "failed". */
  readonly code?: ErrorCode | undefined;
}

/**
 * A failure that a user can act on. The command line prints its message as one line.
 * Messages read "Cannot X: reason" and name the file, line or call and the way out.
 */
export class HotsetError extends Error {
  /** Name of the class. */
  override name = "HotsetError";
  /** The kind of failure. */
  readonly code: ErrorCode;

  /** Made where something fails. */
  constructor(message: string, { code, ...options }: HotsetErrorOptions = {}) {
    super(message, options);
    this.code = code ?? codeOfCause(options.cause);
  }
}

/** Flags or arguments that make no sense together. */
export class UsageError extends HotsetError {
  /** Name of the class. */
  override name = "UsageError";

  /** Made where options are checked. */
  constructor(message: string) {
    super(message, { code: "usage" });
  }
}

/** A signal ended the work. Training has saved its last checkpoint, if it saves any. */
export class Interrupted extends HotsetError {
  /** Name of the class. */
  override name = "Interrupted";
  /** Directory of the run that can go on; undefined if there is none. */
  readonly run: string | undefined;

  /** Made by what notices the signal. */
  constructor(message: string, run?: string) {
    super(message, { code: "interrupted" });
    this.run = run;
  }
}

function codeOfCause(cause: unknown): ErrorCode {
  const code = codeOf(cause);
  return code === "defect" ? SYSTEM_CODES[(cause as { code?: string } | undefined)?.code ?? ""] ?? "failed" : code;
}

/** The kind of failure of anything that was thrown. */
export function codeOf(error: unknown): ErrorCode {
  if (error instanceof HotsetError) return error.code;
  return error instanceof Deno.errors.NotCapable ? "denied" : "defect";
}

/** The text of anything that was thrown. Of a system's error it is the reason alone: the context names call and path. */
export function messageOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  // "File exists (os error 17): open 'a'", as Deno has it, and "EEXIST: file already exists, open 'a'", as Node does.
  return error.message.replace(/ \(os error \d+\)(: [^]*)?$/, "").replace(/^E[A-Z0-9]+: ([^]*?), \w+( '[^]*')?$/, "$1");
}
