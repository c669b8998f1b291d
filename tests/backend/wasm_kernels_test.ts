/** The WASM module: the committed code was compiled from its source, and threads share its memory. */
import assert from "node:assert/strict";
import { ACTIVATION_CODES } from "../../src/backend/cpu/wasm/kernels.ts";
import { KERNELS_BASE64 } from "../../src/backend/cpu/wasm/kernels_binary.ts";
import { Random } from "../../src/random.ts";
import { committedModuleText, compileKernels, KERNEL_MODULES, kernelsModuleText } from "../../tools/build_wasm.ts";

import { at, Operands } from "./wasm_operands.ts";

Deno.test("WASM kernels: the committed binaries are what the sources compile to", () => {
  assert.equal(KERNEL_MODULES.length, 3);
  for (const module of KERNEL_MODULES) {
    assert.equal(
      committedModuleText(module),
      kernelsModuleText(compileKernels(module)),
      "kernels_binary.ts is stale: run `deno run -A tools/build_wasm.ts`",
    );
  }
});

Deno.test("WASM kernels: the module owns no memory, data, mutable globals or start code", () => {
  const binary = Uint8Array.fromBase64(KERNELS_BASE64);
  const sections = new Set<number>();
  for (let i = 8; i < binary.length;) {
    const section = binary[i++];
    let length = 0;
    for (let shift = 0;; shift += 7) {
      const byte = binary[i++];
      length += (byte & 0x7f) * 2 ** shift;
      if (byte < 0x80) break;
    }
    sections.add(section);
    i += length;
  }
  const [memory, globals, start, data] = [5, 6, 8, 11];
  for (const section of [memory, globals, start, data]) assert.ok(!sections.has(section), `section ${section}`);
  const module = new WebAssembly.Module(binary);
  assert.deepEqual(WebAssembly.Module.imports(module), [{ module: "env", name: "memory", kind: "memory" }]);
});

Deno.test("WASM kernels: two threads over one memory do not disturb each other", async () => {
  const operands = new Operands();
  const random = new Random(9);
  const [samples, inputs, outputs, repeats] = [65, 131, 77, 40];
  const x = operands.random(samples * inputs, random);
  const weight = operands.random(outputs * inputs, random);
  const bias = operands.random(outputs, random);
  const alone = operands.floats(samples * outputs);
  const shape = [samples, inputs, outputs, ACTIVATION_CODES.relu] as const;
  operands.kernels.linear(...shape, at(x), at(weight), at(bias), at(alone), operands.gemmScratch());

  const source = `
    import { instantiateKernels } from ${JSON.stringify(import.meta.resolve("../../src/backend/cpu/wasm/kernels.ts"))};
    self.onmessage = ({ data: { memory, repeats, call } }) => {
      const kernels = instantiateKernels(memory);
      for (let i = 0; i < repeats; i++) kernels.linear(...call);
      self.postMessage("done");
    };`;
  const results = [operands.floats(alone.length), operands.floats(alone.length)];
  const calls = results.map((y) => [...shape, at(x), at(weight), at(bias), at(y), operands.gemmScratch()]);
  const module = URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
  await Promise.all(calls.map((call) =>
    new Promise<void>((resolve, reject) => {
      const worker = new Worker(module, { type: "module" });
      worker.onmessage = () => resolve(worker.terminate());
      worker.onerror = (event) => reject(new Error(event.message));
      worker.postMessage({ memory: operands.memory, repeats, call });
    })
  ));
  URL.revokeObjectURL(module);
  for (const y of results) assert.deepEqual(y, alone);
  operands.check();
});
