/** Thread of a row store. */
/// <reference lib="deno.worker" />
import { serveStore } from "./store_thread.ts";

self.onmessage = ({ data }: MessageEvent<Parameters<typeof serveStore>[0]>) => {
  serveStore(data, (name) => postMessage(name));
  self.close();
};
