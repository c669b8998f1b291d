/** Runs a command line next to a thread that blocks in a foreign call, as a rank does after its peer failed. */
import { main } from "../../cli/main.ts";

const worker = new Worker(new URL("sleeping_thread.ts", import.meta.url), { type: "module" });
await new Promise((resolve) => worker.onmessage = resolve);
await new Promise((resolve) => setTimeout(resolve, 200));
worker.terminate();
await main(Deno.args);
