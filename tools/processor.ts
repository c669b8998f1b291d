/** The processor of this machine, as tables of measurements name it: its name alone does not always say what it is. */
export function processor(): string {
  const info = Deno.build.os === "linux" ? Deno.readTextFileSync("/proc/cpuinfo") : "";
  const model = /^model name\s*: (.*)$/m.exec(info)?.[1] ?? Deno.build.target;
  const widest = { AMX: "amx_bf16", "AVX-512 and bf16": "avx512_bf16", "AVX-512": "avx512f", AVX2: "avx2" };
  const flags = /^flags\s*: (.*)$/m.exec(info)?.[1].split(" ") ?? [];
  const [feature] = Object.entries(widest).find(([, flag]) => flags.includes(flag)) ?? [];
  return `${model}${feature === undefined ? "" : ` with ${feature}`}, ${navigator.hardwareConcurrency} cores`;
}
