/**
 * What of a cache no run needs. A run needs its dataset; a run that has not ended also needs its layout, and the
 * profile from which that was made. Everything else in a cache is built again when it is missing.
 */
import { existsSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { z } from "zod";
import { HotsetError } from "../errors.ts";
import { Artifact, isArtifact, isDirectory } from "../storage/artifact.ts";
import { removeWhole } from "../storage/atomic_directory.ts";
import { bytesBelow, bytesFreed } from "../storage/disk.ts";
import { OutputLock } from "../storage/output_lock.ts";
import { leftoversIn, removeAllLeftovers } from "../storage/partial.ts";
import { findRuns, foldersBelow } from "./run_list.ts";
import { registeredRuns, runsElsewhere } from "./run_cache.ts";
import { readRun, RUN_FILE, type RunRecord } from "./run_record.ts";
import { readRunLog } from "./run_log.ts";
import { METRICS_FILE } from "./run_metrics.ts";

/** The folders of a cache, with the kind of artifact in each. */
const FOLDERS = { datasets: "dataset", profiles: "profile", layouts: "layout" } as const;
/** Names that Hotset gives to artifacts in a cache; others were chosen by users. */
const CACHED = /^(demo-)?[0-9a-f]{16}$/;
/** Of an interrupted `prepare`, whose repetition would continue from it. */
const STAGE = /^\.(.+)\.stage-[0-9a-f]{16}$/;

/** Options of `inspectCaches` and `clean`. */
export interface CleanOptions {
  /**
   * True to remove also what processes of other hosts left, and what only runs of theirs need that are not seen here.
   * Default false: such a process may still run.
   */
  readonly otherHosts?: boolean;
}

/** Something in a cache, or what a killed process left. */
export interface CacheItem {
  /** Its path. */
  readonly path: string;
  /** What it is. */
  readonly kind: "dataset" | "profile" | "layout" | "stage" | "leftover";
  /** Bytes of its files. */
  readonly bytes: number;
  /** When it was written, in ISO 8601. */
  readonly written: string;
  /** Why it is kept; null if nothing needs it. */
  readonly kept: string | null;
}

/** A run, and what it needs. */
interface Need {
  readonly run: string;
  readonly record: RunRecord;
  readonly ended: boolean;
}

/**
 * All that is in the caches in directories and up to three levels below, with the reason if it is needed. Throws
 * HotsetError if a directory does not exist.
 */
export function inspectCaches(directories: readonly string[], options: CleanOptions = {}): CacheItem[] {
  return survey(directories, options).items;
}

/** What there is, and the folders in which leftovers were looked for. */
function survey(directories: readonly string[], options: CleanOptions): { items: CacheItem[]; searched: string[] } {
  const folders = foldersBelow(directories);
  const caches = folders.filter((folder) => Object.keys(FOLDERS).some((name) => isDirectory(join(folder, name))));
  const places = caches.flatMap((cache) => Object.keys(FOLDERS).map((name) => join(cache, name))).filter(isDirectory);
  const runs = findRuns(directories);
  const known = new Set(runs.map((run) => Deno.realPathSync(run)));
  // Those of other directories that were recorded in the caches.
  const others = caches.flatMap(registeredRuns).filter((run) => existsSync(join(run, RUN_FILE)));
  for (const run of others) {
    const real = Deno.realPathSync(run);
    if (!known.has(real)) runs.push(run);
    known.add(real);
  }
  const needs: Need[] = [];
  const unreadable: string[] = [];
  for (const run of runs) {
    try {
      const ended = existsSync(join(run, METRICS_FILE)) && readRunLog(run).result !== undefined;
      needs.push({ run, record: readRun(run), ended });
    } catch (error) {
      if (!(error instanceof HotsetError)) throw error;
      unreadable.push(run);
    }
  }
  const everything = unreadable.length === 0 ? undefined : `${unreadable.join(", ")} cannot be read`;
  const searched = [...new Set([...folders, ...places, ...runs])];
  const items = [
    ...caches.flatMap((cache) => itemsOf(cache, needs, everything, options)),
    ...searched.flatMap((folder) => leftovers(folder, options)),
  ];
  return { items, searched };
}

function itemsOf(
  cache: string,
  needs: readonly Need[],
  everything: string | undefined,
  { otherHosts = false }: CleanOptions,
): CacheItem[] {
  const busy = [...OutputLock.heldIn(cache), ...registeredRuns(cache).filter((run) => OutputLock.isHeld(run))];
  const [unseen] = otherHosts ? [] : runsElsewhere(cache);
  const shared = busy.length > 0
    ? `${busy.join(", ")}: being written now`
    : unseen !== undefined
    ? `host ${unseen.host} may have ${unseen.run}: clean there or, if it is gone, with --other-hosts`
    : everything;
  const items: (CacheItem & { readonly profile?: string | null })[] = [];
  // Layouts come first: one that is kept keeps its profile.
  for (const folder of ["layouts", "profiles", "datasets"] as const) {
    const place = join(cache, folder);
    if (!isDirectory(place)) continue;
    const kind = FOLDERS[folder];
    for (const { name } of Deno.readDirSync(place)) {
      const path = join(place, name);
      const own = OutputLock.isHeld(outputOf(path)) ? "being written now" : shared;
      if (STAGE.test(name)) items.push(itemAt(path, "stage", own));
      if (!CACHED.test(name) || !isArtifact(path)) continue;
      const { id, profile } = contentOf(kind, path);
      const users = kind === "profile"
        ? items.filter((item) => item.kept !== null && item.profile === id).map((item) => item.path)
        : needs.filter((need) => needsIt(need, kind, path, id)).map(({ run }) => run);
      const kept = users.length > 0 ? `needed by ${users.join(", ")}` : own;
      items.push({ ...itemAt(path, kind, kept), ...(profile === undefined ? {} : { profile }) });
    }
  }
  return items.map(({ profile: _, ...item }) => item);
}

function needsIt({ record, ended }: Need, kind: "dataset" | "layout", path: string, id: string | undefined): boolean {
  if (kind === "layout") return !ended && (id === undefined || record.layoutId === id);
  return record.datasetId === id ||
    (isDirectory(record.dataset) && Deno.realPathSync(record.dataset) === Deno.realPathSync(path));
}

/** Id of an artifact, and of the profile of a layout; undefined if it is damaged or of another version. */
function contentOf(kind: "dataset" | "profile" | "layout", path: string): { id?: string; profile?: string | null } {
  try {
    const schema = z.looseObject({ profile: z.string().nullable().optional() });
    const { id, body } = Artifact.open<z.infer<typeof schema>>(kind, path, schema, "lengths");
    return { id, ...(kind === "layout" && body.profile !== undefined ? { profile: body.profile } : {}) };
  } catch (error) {
    if (!(error instanceof HotsetError)) throw error;
    return {};
  }
}

function itemAt(path: string, kind: CacheItem["kind"], kept: string | undefined): CacheItem {
  const written = (Deno.lstatSync(path).mtime ?? new Date(0)).toISOString();
  return { path, kind, bytes: bytesBelow(path), written, kept: kept ?? null };
}

/** What killed processes left in a folder, except what gets its name back. */
function leftovers(folder: string, { otherHosts = false }: CleanOptions): CacheItem[] {
  return leftoversIn(folder).filter(({ isOnlyCopy }) => !isOnlyCopy).map(({ path, host }) => {
    const mayRun = `host ${host} may still write it: clean there or, if nothing runs there, with --other-hosts`;
    return itemAt(path, "leftover", host === undefined || otherHosts ? undefined : mayRun);
  });
}

/** Bytes that `clean` would free. */
export function bytesToFree(items: readonly CacheItem[]): number {
  return bytesFreed(items.filter(({ kept }) => kept === null).map(({ path }) => path));
}

/**
 * Removes what nothing needs from the caches in directories, except what a process has begun to write meanwhile. Returns
 * what was removed, and the bytes that this freed. Throws HotsetError if a directory does not exist, and the errors of
 * Deno.
 */
export function clean(
  directories: readonly string[],
  options: CleanOptions = {},
): { removed: CacheItem[]; bytes: number } {
  using locks = new DisposableStack();
  const { items, searched } = survey(directories, options);
  const removed = items.filter(({ path, kind, kept }) => {
    if (kept !== null || kind === "leftover") return kept === null;
    const lock = OutputLock.try(outputOf(path), `remove ${path}`);
    return locks.use(lock) !== undefined;
  });
  const bytes = bytesToFree(removed);
  for (const { path, kind } of removed) if (kind !== "leftover") removeWhole(path);
  for (const folder of searched) removeAllLeftovers(folder, options.otherHosts);
  return { removed, bytes };
}

/** The output to which something in a cache belongs. */
function outputOf(path: string): string {
  return join(dirname(path), STAGE.exec(basename(path))?.[1] ?? basename(path));
}
