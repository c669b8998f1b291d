// The plan in memory, and the hash table of rows.

/** No position. */
export const NONE: u32 = 0xffffffff;
/** Parts of `Entry.uses`. */
export const USE: u32 = 1, PIN: u32 = 1 << 15, COUNTS: u32 = 0x7fffffff, CHANGED: u32 = 0x80000000;
/** Entries of a group, which is a cache line. */
export const GROUP: u32 = 4;
/** Rows whose memory is read before the first is processed, so that reads overlap instead of waiting for each other. */
export const READ_AHEAD: u32 = 256;

/** The beginning of the memory: addresses, sizes, and the state of the plan. */
@unmanaged
export class Plan {
  groups: usize;
  overflows: usize;
  logs: usize;
  used: usize;
  nextUses: usize;
  counts: usize;
  soon: usize;
  soonEnds: usize;
  homes: usize;
  chosen: usize;
  rows: usize;
  positions: usize;
  writtenRows: usize;
  writtenPositions: usize;
  fetchedRows: usize;
  fetchedPositions: usize;
  unused: usize;
  slots: u32;
  batchRows: u32;
  window: u32;
  groupCount: u32;
  logCapacity: u32;
  announced: u32;
  planned: u32;
  finished: u32;
  written: u32;
  fetched: u32;
  evicted: u32;
  /** Positions that have been used. */
  positionCount: u32;
  /** Rows in lists. */
  evictable: u32;
  /** Depends on the words that were read ahead, so that the compiler keeps the reads. */
  read: u32;
  /** Of the logs of idle rows, clean and changed: the index of the first item, and the number of items with holes. */
  cleanFirst: u32;
  changedFirst: u32;
  cleanItems: u32;
  changedItems: u32;
}

/** A row in fast memory or in announced batches. The words of the four entries of a group alternate. */
@unmanaged
export class Entry {
  /** The row + 1; 0 in an entry without a row. */
  key: u32;
  private otherKeys: u32;
  private otherKeys1: u32;
  private otherKeys2: u32;
  /** NONE outside fast memory. */
  position: u32;
  private otherPositions: u32;
  private otherPositions1: u32;
  private otherPositions2: u32;
  /**
   * The number of announced, unfinished batches that use it (USE), of planned ones among them (PIN), and whether it has
   * changed (CHANGED). A row in fast memory without pins is in a list: without uses in a log of idle rows.
   */
  uses: u32;
  private otherUses: u32;
  private otherUses1: u32;
  private otherUses2: u32;
  /** With uses, the last of them; without, its index in the log. */
  link: u32;
}

/** The first and the end of a list of rows that are used soon. */
@unmanaged
export class Ends {
  first: u32;
  end: u32;
}

// @ts-ignore: decorator
@inline
export function thePlan(): Plan {
  return changetype<Plan>(<usize>0);
}

// @ts-ignore: decorator
@inline
export function groupAt(groups: usize, group: u32): usize {
  return groups + (<usize>group << 6);
}

/** The fields of an entry, whose number is 4 * group + its place there. No group has the number 0. */
// @ts-ignore: decorator
@inline
export function entryAt(groups: usize, entry: u32): Entry {
  return changetype<Entry>(groupAt(groups, entry / GROUP) + (<usize>(entry % GROUP) << 2));
}

// @ts-ignore: decorator
@inline
export function word(words: usize, i: u32): u32 {
  return load<u32>(words + (<usize>i << 2));
}

/** The one or the other, without a branch: the compiler makes one of a condition, and most could not be predicted. */
// @ts-ignore: decorator
@inline
export function choose(first: u32, one: usize, other: usize): usize {
  return other ^ ((one ^ other) & (0 - <usize>first));
}

// @ts-ignore: decorator
@inline
export function setWord(words: usize, i: u32, value: u32): void {
  store<u32>(words + (<usize>i << 2), value);
}

// Entries are a hash table. A row is in the first group from its home on that had a free entry; all groups before it count
// it in their overflow. So entries never move, and a row that is not in its home is searched for only where it can be.

// @ts-ignore: decorator
@inline
export function homeOf(row: u32, groupCount: u32): u32 {
  let hash = (row ^ (row >> 16)) * 0x7feb352d;
  hash = (hash ^ (hash >> 15)) * 0x846ca68b;
  return 1 + <u32>((<u64>hash * groupCount) >> 32);
}

// @ts-ignore: decorator
@inline
export function groupAfter(group: u32, groupCount: u32): u32 {
  return group < groupCount ? group + 1 : 1;
}

/** The place in a group of the first entry with a key; GROUP if there is none. */
// @ts-ignore: decorator
@inline
export function placeOf(group: usize, key: u32): u32 {
  return ctz<u32>(i32x4.bitmask(i32x4.eq(v128.load(group), i32x4.splat(key))) | (1 << GROUP));
}

/** The entry of a row in a group; 0 if it is not there. */
// @ts-ignore: decorator
@inline
export function entryIn(groups: usize, group: u32, row: u32): u32 {
  const place = placeOf(groupAt(groups, group), row + 1);
  return (group * GROUP + place) & (0 - <u32>(place < GROUP));
}

/** The entry of a row; 0 if it has none. */
export function findEntry(plan: Plan, row: u32, home: u32): u32 {
  let group = home;
  for (let i: u32 = 0; i < plan.groupCount; i++, group = groupAfter(group, plan.groupCount)) {
    const entry = entryIn(plan.groups, group, row);
    if (entry != 0 || word(plan.overflows, group) == 0) return entry;
  }
  return 0;
}

export function newEntry(plan: Plan, row: u32, home: u32): u32 {
  let group = home, place = placeOf(groupAt(plan.groups, group), 0);
  while (place == GROUP) {
    setWord(plan.overflows, group, word(plan.overflows, group) + 1);
    group = groupAfter(group, plan.groupCount);
    place = placeOf(groupAt(plan.groups, group), 0);
  }
  const entry = group * GROUP + place;
  const fields = entryAt(plan.groups, entry);
  fields.key = row + 1;
  fields.position = NONE;
  fields.uses = 0;
  return entry;
}

// @ts-ignore: decorator
@inline
export function dropEntry(plan: Plan, entry: u32, fields: Entry): void {
  let group = homeOf(fields.key - 1, plan.groupCount);
  for (; group != entry / GROUP; group = groupAfter(group, plan.groupCount)) {
    setWord(plan.overflows, group, word(plan.overflows, group) - 1);
  }
  fields.key = 0;
}
