/** options_act_test.ts on the emulated device, which has further options. */
import { GIVEN, tryOptions } from "../support/try_options.ts";

const ON_DEVICE = [
  { option: "--precision", layer: { precision: "tf32" } },
  { option: "--precision", layer: { precision: "bf16" } },
  { option: "--activations", layer: { activations: "cudnn" } },
  { option: "--activations", layer: { activations: "ptx" } },
] as const;

for (const mode of ["hybrid", "gpu", "fae"] as const) {
  Deno.test(`in mode ${mode} on a device an option changes what a run shows, unless the table refuses it`, () =>
    tryOptions(mode, "emulated", [...ON_DEVICE, ...GIVEN]));
}
