/**
 * Who writes a temporary file or directory: its name says so, because a kill leaves nothing else behind. Hosts that share
 * a disk, and containers of one host, number their processes independently, so a process id alone identifies nobody.
 */
import process from "node:process";

/** A process. A field is empty if the system does not have it, or Deno does not permit to read it. */
interface Writer {
  readonly pid: number;
  /** When it started, in ticks since the boot: a later process may have its id. */
  readonly start: string;
  /** The boot of its host, which ended all processes before. */
  readonly boot: string;
  /** The namespace of its id, one a container. */
  readonly namespace: string;
  readonly host: string;
}

/** What is known here of the process that writes something: its host, if only that. */
export type WriterState = "running" | "ended" | { readonly host: string };

const MARK = /^(\d+)\.([0-9a-z]*)\.([0-9a-f]*)\.([0-9a-z]*)\.([^+]*)\+/;
/** Names of hosts may have 64 characters, names of files 255. */
const HOST_LENGTH = 40;
/** The name of many hosts at once. */
const ANY_HOST = "localhost";
const UNKNOWN = "unknown";

let own: Writer | undefined;

/** The mark of this process: the beginning of text in which `writerState` finds it. */
export function writerMark(): string {
  const { pid, start, boot, namespace, host } = own ??= thisProcess();
  return `${pid}.${start}.${boot}.${namespace}.${host}+`;
}

/**
 * The state of the process whose mark begins a text; its host if that is another one, or another container, whose
 * processes are not visible here. Earlier versions wrote the id alone: such a process is taken for one of this host.
 */
export function writerState(text: string): WriterState {
  const here = own ??= thisProcess();
  const mark = MARK.exec(text);
  if (mark === null) return processState(parseInt(text), "", here);
  const [pid, start, boot, namespace, host] = mark.slice(1);
  const elsewhere = { host: host || UNKNOWN };
  if (host !== here.host) return elsewhere;
  if (boot !== here.boot) return host === "" ? elsewhere : "ended";
  if (namespace !== here.namespace) return elsewhere;
  return processState(Number(pid), start, here);
}

/** The name of this host in marks; empty if Deno may not ask, or if many hosts have it. */
export function hostName(): string {
  return (own ??= thisProcess()).host;
}

function thisProcess(): Writer {
  const host = ifGranted({ name: "sys", kind: "hostname" }, () => Deno.hostname());
  const boot = textOf("/proc/sys/kernel/random/boot_id");
  const namespace = ifGranted({ name: "read" }, () => Deno.readLinkSync("/proc/self/ns/pid"));
  return {
    pid: Deno.pid,
    start: startOf(Deno.pid)?.start ?? "",
    boot: boot.replaceAll("-", "").slice(0, 8),
    namespace: Number(/\d+/.exec(namespace)?.[0] ?? 0).toString(36),
    host: host === ANY_HOST ? "" : host.replaceAll(/[^\w.-]/g, "_").slice(0, HOST_LENGTH),
  };
}

/** The state of a process with an id of this host. `start` is when it started; empty if not known. */
function processState(pid: number, start: string, here: Writer): WriterState {
  if (pid === here.pid) return start === here.start ? "running" : "ended";
  if (Deno.permissions.querySync({ name: "run" }).state !== "granted") return { host: here.host || UNKNOWN };
  try {
    process.kill(pid, 0);
  } catch (error) {
    // Other errors: it is the process of another user.
    if ((error as { code?: string }).code === "ESRCH") return "ended";
  }
  const found = startOf(pid);
  const isAnother = start !== "" && found !== undefined && found.start !== start;
  return found?.ended || isAnother ? "ended" : "running";
}

/**
 * When a process started, and whether it has ended and only keeps its id until its parent has asked how. Undefined if
 * the system does not say.
 */
function startOf(pid: number): { start: string; ended: boolean } | undefined {
  // The name of the program, in parentheses, may contain spaces.
  const fields = textOf(`/proc/${pid}/stat`).replace(/^.*\) /s, "").split(" ");
  const ticks = Number(fields[19]);
  return Number.isNaN(ticks) ? undefined : { start: ticks.toString(36), ended: fields[0] === "Z" };
}

function textOf(path: string): string {
  return ifGranted({ name: "read" }, () => Deno.readTextFileSync(path));
}

/** The answer to a question that needs a permission; empty without it, and if the system has none. */
function ifGranted(permission: Deno.PermissionDescriptor, ask: () => string): string {
  try {
    return Deno.permissions.querySync(permission).state === "granted" ? ask() : "";
  } catch {
    return "";
  }
}
