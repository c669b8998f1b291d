/** Thread of a row store that stores rows in lmdb, an embedded key-value store, instead of the log of rows. */
/// <reference lib="deno.worker" />
import { statSync } from "node:fs";
import { join } from "node:path";
import { open } from "lmdb";
import type { StoreCounts } from "../../src/embedding/stores/row_store.ts";
import type { RowLogOptions } from "../../src/embedding/stores/row_log.ts";
import type { RowStore } from "../../src/embedding/stores/row_store.ts";
import { serveStore } from "../../src/embedding/stores/store_thread.ts";

/** The fastest settings: the data need not survive the process. */
const OPTIONS = {
  encoding: "binary",
  keyEncoding: "uint32",
  noSync: true,
  noMemInit: true,
  noReadAhead: true,
} as const;

function openLmdb({ directory, rows, recordWords, initial }: RowLogOptions): RowStore {
  const path = join(directory!, "lmdb.mdb");
  const store = open<Uint8Array, number>({ path, ...OPTIONS });
  const bytes = 4 * recordWords;
  const counts: StoreCounts = {
    ...{ rowsRead: 0, rowsComputed: 0, rowsWritten: 0, bytesRead: 0, bytesWritten: 0, reads: 0, writes: 0 },
  };
  return {
    ...{ rows, recordWords, counts, name: "lmdb" },
    get diskBytes() {
      return statSync(path).size;
    },
    read(list, count, records) {
      const target = new Uint8Array(records.buffer, records.byteOffset, records.byteLength);
      for (let i = 0; i < count; i++) {
        const found = store.getBinaryFast(list[i]);
        if (found === undefined) {
          initial(list[i], records, i * recordWords);
          counts.rowsComputed++;
        } else {
          target.set(found.subarray(0, bytes), i * bytes);
          counts.rowsRead++;
        }
      }
    },
    write(list, count, records) {
      const source = new Uint8Array(records.buffer, records.byteOffset, records.byteLength);
      store.transactionSync(() => {
        for (let i = 0; i < count; i++) store.putSync(list[i], source.slice(i * bytes, (i + 1) * bytes));
      });
      counts.rowsWritten += count;
      counts.bytesWritten += count * bytes;
    },
    clear: () => store.clearSync(),
    adopt() {
      throw new Error("a bench begins without rows");
    },
    seal() {
      throw new Error("a bench leaves no checkpoint");
    },
    [Symbol.dispose]: () => void store.close(),
  };
}

self.onmessage = ({ data }: MessageEvent<Parameters<typeof serveStore>[0]>) => {
  serveStore(data, (name) => postMessage(name), openLmdb);
  self.close();
};
