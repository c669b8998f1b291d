/** Signals that end a process in an orderly way. */
import { Interrupted } from "../src/errors.ts";

/** Exit status of a process that a signal ended. */
const STATUSES = { SIGHUP: 129, SIGINT: 130, SIGTERM: 143, SIGUSR1: 138 } as const;
/** A signal that ends work. SIGUSR1 is what mpirun passes on, while it ends processes soon after the others. */
type Ending = keyof typeof STATUSES;
/** Words of the shared memory: the exit status of the received signal, and 1 if the end of the parent caused it. */
const STATUS = 0, ORPHANED = 1;
/** Milliseconds between checks of the parent process. */
const PARENT_MS = 500;

/** The input of the thread that listens; see interrupt_worker.ts. */
export interface Watch {
  readonly memory: Int32Array;
  readonly signals: readonly Ending[];
  /** Signals that remain ignored, as they were when this process started. */
  readonly ignored: readonly Ending[];
  /** The process whose end counts as SIGTERM; undefined for none. */
  readonly parent: number | undefined;
}

/**
 * Ends a command gracefully on SIGINT, SIGTERM and SIGHUP; a second signal ends the process immediately. A thread
 * receives the signals, because much work never returns to the event loop of the main thread: such work calls `check`
 * regularly, which throws. Training uses the AbortSignal instead, and saves a checkpoint.
 */
export class Interrupt implements Disposable {
  readonly #memory = new Int32Array(new SharedArrayBuffer(8));
  readonly #controller = new AbortController();
  #worker: Worker | undefined;
  #trains = false;

  /** The exit status; 1 if no signal arrived. */
  get exitCode(): number {
    return Atomics.load(this.#memory, STATUS) || 1;
  }

  /** Aborted, with Interrupted as the reason, when a signal has arrived. */
  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** Begins to listen, at the first call; in a cluster to SIGUSR1 too. */
  watch(inCluster = false): void {
    if (this.#worker !== undefined) return;
    const ignored = hangupIsIgnored() ? ["SIGHUP"] as const : [];
    const signals = ["SIGINT", "SIGTERM", "SIGHUP", ...inCluster ? ["SIGUSR1"] as const : []] as const;
    const watch: Watch = {
      memory: this.#memory,
      signals,
      ignored,
      parent: isStartedByNpx() ? Deno.ppid : undefined,
    };
    const worker = new Worker(new URL("./interrupt_worker.ts", import.meta.url), { type: "module", name: "signals" });
    worker.onmessage = () => this.#controller.abort(this.#failure());
    worker.onerror = (event) => event.preventDefault(); // if it cannot be read, signals keep their default effect
    worker.postMessage(watch);
    this.#worker = worker;
  }

  /** Throws Interrupted if a signal has arrived, unless training handles signals. */
  check(): void {
    if (!this.#trains && Atomics.load(this.#memory, STATUS) !== 0) throw this.#failure();
  }

  /** From now on training handles signals. Returns the signal that is aborted. */
  listen(inCluster = false): AbortSignal {
    this.#trains = true;
    this.watch(inCluster);
    return this.signal;
  }

  #failure(): Interrupted {
    const [name] = Object.entries(STATUSES).find(([, status]) => status === this.exitCode)!;
    const cause = Atomics.load(this.#memory, ORPHANED) === 0 ? name : "the exit of npx, which started it";
    return new Interrupted(
      `Interrupted by ${cause}; unfinished output is removed, and the same command continues from the finished stages`,
    );
  }

  /** Stops listening. */
  [Symbol.dispose](): void {
    this.#worker?.terminate();
  }
}

/** The thread's side. Records the first signal; at a second one, ends the process by that signal. */
export function watchSignals({ memory, signals, ignored, parent }: Watch, onSignal: () => void): void {
  const note = (name: Ending) => {
    if (Atomics.compareExchange(memory, STATUS, 0, STATUSES[name]) !== 0) return false;
    onSignal();
    return true;
  };
  for (const name of signals) {
    const listener = () => {
      if (ignored.includes(name) || note(name)) return; // without a listener Deno would end the process
      Deno.removeSignalListener(name, listener);
      Deno.kill(Deno.pid, name);
    };
    Deno.addSignalListener(name, listener);
  }
  if (parent === undefined) return;
  const timer = setInterval(() => {
    if (Deno.ppid === parent) return;
    clearInterval(timer);
    Atomics.store(memory, ORPHANED, 1);
    note("SIGTERM");
  }, PARENT_MS);
}

/** True under nohup. If the system does not say, true unless the output is a terminal. */
export function hangupIsIgnored(): boolean {
  try {
    const status = isGranted({ name: "read", path: "/proc/self/status" }) && Deno.readTextFileSync("/proc/self/status");
    const mask = /^SigIgn:\s*([0-9a-f]+)$/m.exec(status || "")?.[1];
    if (mask !== undefined) return (BigInt(`0x${mask}`) & 1n) === 1n;
  } catch {
    // The file does not exist, or may not be read.
  }
  return !Deno.stdout.isTerminal();
}

/**
 * True if npx runs this program. A signal terminates npx and its shell, which do not forward it, and npx never exits
 * before its child otherwise. Other parents may exit while their child continues: nohup, setsid, cron, systemd, mpirun.
 */
function isStartedByNpx(): boolean {
  const get = (variable: string) => isGranted({ name: "env", variable }) ? Deno.env.get(variable) ?? "" : "";
  return get("npm_lifecycle_event") === "npx" && /\b(deno|hotset)\b/.test(get("npm_lifecycle_script"));
}

/** True if the permission is granted already. */
function isGranted(permission: Deno.PermissionDescriptor): boolean {
  return Deno.permissions.querySync(permission).state === "granted";
}
