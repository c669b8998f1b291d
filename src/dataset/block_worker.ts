/** Body of the threads that draw blocks for a BlockRing. */
import { Drawer, type DrawingInput } from "./block_ring.ts";
import { ClickModel } from "./click_model.ts";

addEventListener("message", (event) => {
  const input = (event as MessageEvent<DrawingInput>).data;
  new Drawer(input, new ClickModel(input.options)).run();
  close();
});
