/** Thread of a row store on a disk that fails. `failStores` makes the runs of the calling thread use it. */
/// <reference lib="deno.worker" />
import { RowLog } from "../../src/embedding/stores/row_log.ts";
import { serveStore } from "../../src/embedding/stores/store_thread.ts";
import { SerialTransfers } from "../../src/embedding/stores/transfers.ts";

const EIO = 5;

/** What fails. */
export interface StoreFault {
  /** Number of reads before one fails. */
  readonly after: number;
  /** Reads end with an error; or the process is killed in a read of a compaction, where only those count. */
  readonly kind: "error" | "kill";
}

/** How the names of such threads begin; the fault follows, as JSON. */
const NAME = "failing row store ";

/** Until it is disposed, the row stores that this thread starts fail. */
export function failStores(fault: StoreFault): Disposable {
  const { Worker } = globalThis;
  globalThis.Worker = class extends Worker {
    constructor(module: string | URL, options?: WorkerOptions) {
      const isStore = new URL(module).pathname.endsWith("/stores/store_worker.ts");
      super(
        isStore ? import.meta.url : module,
        isStore ? { ...options, name: NAME + JSON.stringify(fault) } : options,
      );
    }
  };
  return { [Symbol.dispose]: () => void (globalThis.Worker = Worker) };
}

/** A log on such a disk. */
class FailingLog extends RowLog {
  #writes = false;

  constructor(options: ConstructorParameters<typeof RowLog>[0], { after, kind }: StoreFault) {
    let reads = 0;
    const isDue = () => (kind === "error" || this.#writes) && ++reads > after;
    const transfers = (memory: Uint8Array) =>
      new (class extends SerialTransfers {
        override begin(write: boolean, fd: number, position: number, at: number, length: number, tag: number): void {
          super.begin(write, fd, position, at, length, tag);
          if (write || !isDue()) return;
          if (kind === "kill") Deno.kill(Deno.pid, "SIGKILL");
          this.result = -EIO;
        }
      })(memory);
    super({ ...options, transfers });
  }

  /** Only a compaction reads what it then writes. */
  override write(rows: Uint32Array, count: number, records: Float32Array): void {
    this.#writes = true;
    super.write(rows, count, records);
    this.#writes = false;
  }
}

if (self.name?.startsWith(NAME)) {
  const fault: StoreFault = JSON.parse(self.name.slice(NAME.length));
  self.onmessage = ({ data }: MessageEvent<Parameters<typeof serveStore>[0]>) => {
    serveStore(data, (name) => postMessage(name), (options) => new FailingLog(options, fault));
    self.close();
  };
}
