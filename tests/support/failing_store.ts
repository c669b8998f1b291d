/**
 * Thread of a row store whose disk fails: after a number of reads of pages, `failing_store.ts?reads=N`, each ends with a
 * read error (EIO). `failReads` makes runs of this thread use it.
 */
/// <reference lib="deno.worker" />
import { RowLog } from "../../src/embedding/stores/row_log.ts";
import { serveStore } from "../../src/embedding/stores/store_thread.ts";
import { SerialTransfers } from "../../src/embedding/stores/transfers.ts";

const EIO = 5;

class FailingReads extends SerialTransfers {
  #reads: number;

  constructor(memory: Uint8Array, reads: number) {
    super(memory);
    this.#reads = reads;
  }

  override begin(write: boolean, fd: number, position: number, at: number, length: number, tag: number): void {
    super.begin(write, fd, position, at, length, tag);
    if (!write && this.#reads-- <= 0) this.result = -EIO;
  }
}

/** Until it is disposed, the row stores that this thread starts fail after this number of reads. */
export function failReads(after: number): Disposable {
  const { Worker } = globalThis;
  globalThis.Worker = class extends Worker {
    constructor(module: string | URL, options?: WorkerOptions) {
      const isStore = new URL(module).pathname.endsWith("/stores/store_worker.ts");
      super(isStore ? new URL(`?reads=${after}`, import.meta.url) : module, options);
    }
  };
  return { [Symbol.dispose]: () => void (globalThis.Worker = Worker) };
}

if (self.name === "row store") {
  const reads = Number(new URL(import.meta.url).searchParams.get("reads"));
  self.onmessage = ({ data }: MessageEvent<Parameters<typeof serveStore>[0]>) => {
    serveStore(
      data,
      (name) => postMessage(name),
      (options) => new RowLog({ ...options, transfers: (memory) => new FailingReads(memory, reads) }),
    );
    self.close();
  };
}
