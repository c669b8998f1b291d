/** Signals that end a process, made to end training in order. */

/** What a process exits with when a signal ends it. */
const EXIT_CODES = [["SIGINT", 130], ["SIGTERM", 143]] as const;
/** What mpirun and srun pass on to the processes they started, while they end them soon after the others. */
const CLUSTER_EXIT_CODE = ["SIGUSR1", 138] as const;

/**
 * Turns SIGINT and SIGTERM into an aborted signal, so that training can save itself; a second one ends the process at
 * once. Before `listen` both end the process as usual: stages leave nothing that a next run would trip over.
 */
export class Interrupt implements Disposable {
  /** What the process is to exit with; 1 if no signal came. */
  exitCode = 1;
  readonly #controller = new AbortController();
  readonly #listeners: [Deno.Signal, () => void][] = [];

  /** Begins to listen, at the first call; in a cluster to SIGUSR1 too. Returns the signal that is aborted. */
  listen(inCluster = false): AbortSignal {
    if (this.#listeners.length > 0) return this.#controller.signal;
    for (const [name, code] of inCluster ? [...EXIT_CODES, CLUSTER_EXIT_CODE] : EXIT_CODES) this.#on(name, code);
    return this.#controller.signal;
  }

  #on(name: Deno.Signal, code: number): void {
    const listener = () => {
      if (this.#controller.signal.aborted) Deno.exit(code);
      this.exitCode = code;
      this.#controller.abort();
    };
    Deno.addSignalListener(name, listener);
    this.#listeners.push([name, listener]);
  }

  /** Stops listening. */
  [Symbol.dispose](): void {
    for (const [name, listener] of this.#listeners) Deno.removeSignalListener(name, listener);
  }
}
