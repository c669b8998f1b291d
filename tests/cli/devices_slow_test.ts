/** Runs on the emulated device. */
import assert from "node:assert/strict";
import { jsonLines, TINY_MODEL, Workplace } from "./support.ts";

const SMALL = [...TINY_MODEL, "--batch-size", "64", "--print-freq", "1"];

Deno.test("the emulated device trains by every precision and activation library, and counts what it did", async () => {
  using place = new Workplace();
  await place.log("log.tsv", 400);
  const train = async (device: string, ...flags: string[]) => {
    const common = ["--mode", "fae", "--json", "--device", device, ...SMALL];
    const events = jsonLines(await place.succeed("train", "log.tsv", ...common, ...flags));
    const losses: number[] = events.filter(({ event }) => event === "progress").map(({ loss }) => loss);
    return { losses, result: events.at(-1) };
  };
  const cpu = await train("cpu");
  assert.deepEqual(cpu.result.launchesPerStep, { cold: 0, hot: 0 });
  assert.equal(cpu.result.hostToDeviceBytes, 0);
  const nearly = (losses: number[], tolerance: number) => {
    assert.equal(losses.length, cpu.losses.length);
    losses.forEach((loss, step) => assert.ok(Math.abs(loss / cpu.losses[step] - 1) < tolerance, `step ${step}`));
  };
  const plain = await train("emulated", "--ranks", "1");
  assert.match(plain.result.device, /^emulated device, fp32, cuBLASLt 12\.0\.0$/);
  nearly(plain.losses, 1e-5);
  const { launchesPerStep: { hot, cold }, hostToDeviceBytes, deviceToHostBytes } = plain.result;
  assert.ok(hot > 1 && hot <= 40 && cold <= 40, `${hot} launches of a hot step, ${cold} of a cold one`);
  assert.ok(hostToDeviceBytes > deviceToHostBytes && deviceToHostBytes > 0);
  const cudnn = await train("emulated", "--ranks", "1", "--activations", "cudnn");
  assert.match(cudnn.result.device, /^emulated device, fp32, cuDNN$/);
  nearly(cudnn.losses, 1e-5);
  assert.ok(cudnn.result.launchesPerStep.hot > hot, "cuDNN's activations are launches of their own");
  const ptx = await train("emulated", "--ranks", "1", "--activations", "ptx");
  assert.match(ptx.result.device, /^emulated device, fp32$/);
  assert.deepEqual(ptx.losses, plain.losses);
  assert.ok(ptx.result.launchesPerStep.hot > hot, "biases and activations are launches of their own");
  for (const precision of ["tf32", "bf16"]) {
    const { losses } = await train("emulated", "--ranks", "1", "--precision", precision);
    nearly(losses, precision === "tf32" ? 1e-3 : 1e-2);
    assert.notDeepEqual(losses, plain.losses);
  }
  const two = await train("emulated", "--ranks", "2");
  nearly(two.losses, 1e-5);
  assert.deepEqual([two.result.ranks, plain.result.bytesFromRanks], [2, 0]);
  assert.ok(two.result.bytesFromRanks > 0);
  const table = await place.succeed("train", "log.tsv", "--device", "emulated", ...SMALL, "--ranks", "1");
  assert.match(
    table,
    /^gpu: [\d.]+ .iB copied to the device, [\d.]+ .iB to the host; launches a hot step 0\.0, a cold one \d+\.\d\.$/m,
  );
});
