/** The processor of this machine, as tables of measurements name it. */
export function processor(): string {
  const info = Deno.build.os === "linux" ? Deno.readTextFileSync("/proc/cpuinfo") : "";
  const model = /^model name\s*: (.*)$/m.exec(info)?.[1] ?? Deno.build.target;
  return `${model}, ${navigator.hardwareConcurrency} cores`;
}
