/** The most memory this process has had resident, where the system tells; else what it has now. */
export function peakRssBytes(): number {
  try {
    const match = /VmHWM:\s+(\d+) kB/.exec(Deno.readTextFileSync("/proc/self/status"));
    if (match !== null) return 1024 * Number(match[1]);
  } catch {
    // Not Linux, or not allowed.
  }
  return Deno.memoryUsage().rss;
}
