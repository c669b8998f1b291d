/** Memory that the system has left for this process. */

/** Share of the available memory that the process may use. */
const AVAILABLE_SHARE = 0.9;

/**
 * Bytes that this process can still allocate when other processes keep their share; Infinity if the system or Deno does
 * not report it.
 */
export function memoryRoom(): number {
  try {
    const { available } = Deno.systemMemoryInfo();
    return AVAILABLE_SHARE * Math.min(available, cgroupRoom());
  } catch {
    return Infinity;
  }
}

/** Files of a control group, of version 2 and 1: its limit, its usage, and the line of its page cache. */
const CGROUPS = [
  { own: /^0::(\/.*)$/m, root: "", limit: "memory.max", usage: "memory.current", cache: "inactive_file" },
  {
    own: /^\d+:memory:(\/.*)$/m,
    root: "/memory",
    limit: "memory.limit_in_bytes",
    usage: "memory.usage_in_bytes",
    cache: "total_inactive_file",
  },
] as const;
/** Where the system reports the control group of the process. */
const OWN_GROUPS = "/proc/self/cgroup";
const GROUPS = "/sys/fs/cgroup";

/** The text of a file; undefined if it does not exist or Deno may not read it. */
function readIfThere(path: string): string | undefined {
  try {
    return Deno.readTextFileSync(path);
  } catch {
    return undefined;
  }
}

/**
 * Bytes left in the control group of the process and its parents; Infinity without one. Usage includes the page cache,
 * which the system frees when memory is short: it counts as free.
 */
export function cgroupRoom(read: (path: string) => string | undefined = readIfThere): number {
  const groups = read(OWN_GROUPS) ?? "";
  const rooms = CGROUPS.flatMap(({ own, root, limit, usage, cache }) => {
    const names = (own.exec(groups)?.[1] ?? "").split("/").filter((name) => name !== "");
    return [...names, ""].map((_, depth) => {
      const folder = [GROUPS + root, ...names.slice(0, depth)].join("/");
      const reclaimable = new RegExp(`^${cache} (\\d+)$`, "m").exec(read(`${folder}/memory.stat`) ?? "")?.[1] ?? "0";
      const used = parseInt(read(`${folder}/${usage}`) ?? "") - Number(reclaimable);
      return parseInt(read(`${folder}/${limit}`) ?? "") - used; // "max" for no limit
    });
  });
  return Math.max(0, Math.min(...rooms.filter((room) => !Number.isNaN(room))));
}
