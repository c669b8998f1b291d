/** OpenBLAS uses the processor's best kernels unless the user selects others, which its version then states. */
import assert from "node:assert/strict";
import { openOpenBlas } from "../../ffi/openblas.ts";
import { absent } from "../support/libraries.ts";

const OPEN = `const { openOpenBlas } = await import(${
  JSON.stringify(new URL("../../ffi/openblas.ts", import.meta.url).href)
}); console.log(openOpenBlas().version);`;

/** The version that OpenBLAS gives in a new process, where the library is loaded anew; undefined where there is none. */
async function versionWith(core: string | undefined): Promise<string | undefined> {
  const env = Deno.env.toObject();
  delete env.OPENBLAS_CORETYPE;
  if (core !== undefined) env.OPENBLAS_CORETYPE = core;
  const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["eval", OPEN],
    clearEnv: true,
    env,
  }).output();
  if (success) return new TextDecoder().decode(stdout).trim();
  assert.match(new TextDecoder().decode(stderr), /Cannot load OpenBLAS/);
  return undefined;
}

const isThere = await versionWith(undefined) !== undefined;
const avx512 = Deno.build.os === "linux" && Deno.build.arch === "x86_64" &&
  Deno.readTextFileSync("/proc/cpuinfo").includes("avx512vl");
const missing = isThere ? avx512 ? "" : " (skipped: no AVX-512 here)" : " (skipped: OpenBLAS is not installed)";

Deno.test({
  name: `kernels with AVX-512 where the processor has it, and a word where the user chose others${missing}`,
  ignore: missing !== "",
  async fn() {
    const own = await versionWith(undefined);
    assert.match(own!, /SkylakeX/);
    assert.doesNotMatch(own!, /OPENBLAS_CORETYPE/);
    const chosen = await versionWith("Haswell");
    assert.match(chosen!, /Haswell.*; slower than this processor allows, because OPENBLAS_CORETYPE=Haswell is set$/);
    assert.doesNotMatch((await versionWith("skylakex"))!, /OPENBLAS_CORETYPE/);
  },
});

const reason = absent("openblas");

Deno.test({
  name: `matrices that are too short are refused${reason === undefined ? "" : ` (skipped: ${reason})`}`,
  ignore: reason !== undefined,
  fn() {
    const { gemm } = openOpenBlas();
    const of = (words: number) => new Float32Array(words);
    gemm(true, false, 2, 2, 3, of(6), of(6), of(4));
    for (const [a, b, c] of [[5, 6, 4], [6, 5, 4], [6, 6, 3]]) {
      assert.throws(() => gemm(true, false, 2, 2, 3, of(a), of(b), of(c)), RangeError);
    }
  },
});
