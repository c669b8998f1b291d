/** The errors that users see. Everything else that is thrown is a defect of Hotset. */

/** Kinds of failure, for programs: the `code` of every error, and what a program can do about it. */
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

/** Kinds of failure by the system's error codes. */
const SYSTEM_CODES: Readonly<Record<string, ErrorCode>> = {
  ENOENT: "not-found",
  EACCES: "denied",
  EPERM: "denied",
  EROFS: "denied",
  ENOSPC: "no-space",
  EDQUOT: "no-space",
  EFBIG: "no-space",
};

/** Options of an error: its cause, and its kind if the cause does not determine it. */
export interface HotsetErrorOptions extends ErrorOptions {
  /** Default: the kind of the cause, or "failed". */
  readonly code?: ErrorCode | undefined;
}

/**
 * A failure that the user can act on. Its message is one line, "Cannot X: reason", which names the file, line or call
 * and what to do. The command line prints it.
 */
export class HotsetError extends Error {
  /** Name of the class. */
  override name = "HotsetError";
  /** The kind of failure. */
  readonly code: ErrorCode;

  /** Thrown where something fails. */
  constructor(message: string, { code, ...options }: HotsetErrorOptions = {}) {
    super(message, options);
    this.code = code ?? codeOfCause(options.cause);
  }
}

/** Options or arguments that are invalid or contradict each other. */
export class UsageError extends HotsetError {
  /** Name of the class. */
  override name = "UsageError";

  /** Thrown where options are checked. */
  constructor(message: string) {
    super(message, { code: "usage" });
  }
}

/**
 * A signal stopped the work. Training has saved its last checkpoint, unless it saves none; `cause` is the reason with which
 * its signal was aborted.
 */
export class Interrupted extends HotsetError {
  /** Name of the class. */
  override name = "Interrupted";
  /** Directory of the run that can be resumed; undefined if there is none. */
  readonly run: string | undefined;

  /** Thrown where the signal is noticed. */
  constructor(message: string, run?: string, cause?: unknown) {
    super(message, { code: "interrupted", ...(cause === undefined ? {} : { cause }) });
    this.run = run;
  }
}

function codeOfCause(cause: unknown): ErrorCode {
  const code = codeOf(cause);
  return code === "defect" ? SYSTEM_CODES[(cause as { code?: string } | undefined)?.code ?? ""] ?? "failed" : code;
}

/** The error that ended some work, if disposing of what it used failed too: that often has the same cause. */
export function firstError(error: unknown): unknown {
  return error instanceof SuppressedError ? firstError(error.suppressed) : error;
}

/** The kind of failure of any thrown value. */
export function codeOf(thrown: unknown): ErrorCode {
  const error = firstError(thrown);
  if (error instanceof HotsetError) return error.code;
  return error instanceof Deno.errors.NotCapable ? "denied" : "defect";
}

/**
 * The message of any thrown value. For an error of the system it is the reason alone: the context names call and path.
 */
export function messageOf(thrown: unknown): string {
  const error = firstError(thrown);
  if (!(error instanceof Error)) return String(error);
  // Deno's form is "File exists (os error 17): open 'a'", Node's is "EEXIST: file already exists, open 'a'".
  return error.message.replace(/ \(os error \d+\)(: [^]*)?$/, "").replace(/^E[A-Z0-9]+: ([^]*?), \w+( '[^]*')?$/, "$1");
}

/**
 * Runs work with files or the system. What it throws becomes the reason of a HotsetError that begins with `failure`, as in
 * "Cannot write a.txt".
 */
export function attempt<T>(failure: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    throw new HotsetError(`${failure}: ${messageOf(error)}`, { cause: error });
  }
}

/** A function that throws HotsetError "Cannot `doing`: reason"; `code` is the kind of failure unless it is given another. */
export function cannot(doing: string, code?: ErrorCode): (reason: string, code?: ErrorCode) => never {
  return (reason, other = code) => {
    throw new HotsetError(`Cannot ${doing}: ${reason}`, { code: other });
  };
}
