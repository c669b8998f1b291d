/** Thread of ThreadTransfers. */
/// <reference lib="deno.worker" />
import { runTransferThread } from "./thread_transfers.ts";

self.onmessage = ({ data }: MessageEvent<Parameters<typeof runTransferThread>[0]>) => {
  runTransferThread(data);
  self.close();
};
