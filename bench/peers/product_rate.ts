/**
 * Prints the GFLOP/s of a large product of matrices on one core, the best of 20, as JSON; a process of its own, because
 * environment variables restrict the kernels of a library:
 *
 *     deno run -A bench/peers/product_rate.ts LIBRARY PRECISION
 */
import { cpuOptions, openHost } from "../../src/backend/open.ts";

const SIZE = 1024;

const [blas, precision] = Deno.args as [Parameters<typeof cpuOptions>[0], Parameters<typeof cpuOptions>[1]];
using host = await openHost(await cpuOptions(blas, precision));
const shape = { inputs: SIZE, outputs: SIZE, activation: "identity" } as const;
const [x, weight, y] = [0, 1, 2].map(() => host.allocate(SIZE ** 2, "a product"));
const bias = host.allocate(SIZE, "a product");
let best = Infinity;
for (let time = 0; time < 20; time++) {
  const begin = performance.now();
  host.linear(shape, SIZE, x, weight, bias, y);
  best = Math.min(best, performance.now() - begin);
}
console.log(JSON.stringify({ gflops: 2 * SIZE ** 3 / best / 1e6 }));
