/** Maximum resident memory of this process in bytes, if the system reports it; else the present value. */
export function peakRssBytes(): number {
  try {
    const match = /VmHWM:\s+(\d+) kB/.exec(Deno.readTextFileSync("/proc/self/status"));
    if (match !== null) return 1024 * Number(match[1]);
  } catch {
    // Not Linux, or no permission.
  }
  return Deno.memoryUsage().rss;
}
