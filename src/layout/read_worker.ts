/** Body of a thread that reads batches for a ReadAhead. */
import { Batch } from "./batch.ts";
import { Layout } from "./layout.ts";
import { ReadThread, type ReadThreadInput } from "./read_ahead.ts";

addEventListener("message", (event) => {
  const { directory, shape, slots, control } = (event as MessageEvent<ReadThreadInput>).data;
  using layout = Layout.open(directory, "lengths");
  const batches = slots.map(({ memory, byteOffset }) => new Batch(shape, memory, byteOffset));
  new ReadThread(layout, batches, control).run();
  close();
});
