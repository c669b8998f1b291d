// See src/embedding/wasm/kernels.ts, which says what each function computes and what the memory contains.

import {
  NONE,
  USE,
  GROUP,
  READ_AHEAD,
  Plan,
  Entry,
  thePlan,
  groupAt,
  entryAt,
  word,
  choose,
  setWord,
  homeOf,
  entryIn,
  findEntry,
  newEntry,
  dropEntry,
  PIN,
  COUNTS,
  CHANGED,
} from "./entries";
import {
  logOf,
  indexInLog,
  appendIdle,
  makeRoom,
  takeIdle,
  endsOf,
  soonOf,
  appendSoon,
  soonRows,
  clearSoon,
} from "./lists";

export function announce(count: u32): void {
  const plan = thePlan();
  const groups = plan.groups, groupCount = plan.groupCount, homes = plan.homes, missing = plan.chosen;
  const logs = plan.logs, nextUses = plan.nextUses, unused = plan.unused, logCapacity = plan.logCapacity;
  const slot = plan.announced++ % plan.window;
  setWord(plan.counts, slot, count);
  const begin = slot * plan.batchRows;
  const cleanSoon = soonOf(plan, slot, 0), changedSoon = soonOf(plan, slot, 1);
  const cleanEnds = endsOf(plan, slot, 0), changedEnds = endsOf(plan, slot, 1);
  let cleanEnd = cleanEnds.end, changedEnd = changedEnds.end;
  for (let from: u32 = 0; from < count; from += READ_AHEAD) {
    const rows = plan.rows + (<usize>from << 2), used = plan.used + (<usize>(begin + from) << 2);
    const size = min(READ_AHEAD, count - from);
    let read: u32 = 0;
    for (let i: u32 = 0; i < size; i++) {
      const home = homeOf(word(rows, i), groupCount);
      setWord(homes, i, home);
      read ^= load<u32>(groupAt(groups, home));
    }
    plan.read = read;
    let beyond: u32 = 0;
    for (let i: u32 = 0; i < size; i++) {
      const entry = entryIn(groups, word(homes, i), word(rows, i));
      setWord(used, i, entry);
      setWord(missing, beyond, i);
      beyond += <u32>(entry == 0);
    }
    for (let n: u32 = 0; n < beyond; n++) {
      const i = word(missing, n);
      const row = word(rows, i), home = word(homes, i);
      const entry = findEntry(plan, row, home);
      setWord(used, i, entry != 0 ? entry : newEntry(plan, row, home));
    }
    // What does not apply is written to unused memory, or after the end of a list.
    for (let i: u32 = 0; i < size; i++) {
      const entry = word(used, i);
      const fields = entryAt(groups, entry);
      const uses = fields.uses, changed = uses >> 31, link = <usize>fields.link << 2;
      const isUsed = <u32>((uses & COUNTS) != 0), isIdle = (isUsed ^ 1) & <u32>(fields.position != NONE);
      const log = logs + ((<usize>(changed * logCapacity)) << 2);
      store<u32>(choose(isUsed, nextUses + link, unused), slot);
      store<u32>(choose(isIdle, log + link, unused), 0);
      setWord(cleanSoon, cleanEnd, entry);
      setWord(changedSoon, changedEnd, entry);
      cleanEnd += isIdle & (changed ^ 1);
      changedEnd += isIdle & changed;
      fields.uses = uses + USE;
      fields.link = begin + from + i;
    }
  }
  cleanEnds.end = cleanEnd;
  changedEnds.end = changedEnd;
}

export function next(): bool {
  const plan = thePlan();
  if (plan.planned == plan.announced) return false;
  const slot = plan.planned % plan.window;
  const groups = plan.groups, missing = plan.fetchedRows, count = word(plan.counts, slot);
  const begin = <usize>(slot * plan.batchRows) << 2, used = plan.used + begin, positions = plan.positions + begin;
  let fetched: u32 = 0;
  for (let i: u32 = 0; i < count; i++) {
    const entry = word(used, i);
    const fields = entryAt(groups, entry);
    fields.uses += PIN;
    const position = fields.position;
    setWord(positions, i, position);
    setWord(missing, fetched, i);
    fetched += position >> 31;
  }
  if (fetched > plan.slots - plan.positionCount + plan.evictable - soonRows(plan, slot)) {
    for (let i: u32 = 0; i < count; i++) entryAt(groups, word(used, i)).uses -= PIN;
    return false;
  }
  plan.planned++;
  plan.evictable -= soonRows(plan, slot);
  clearSoon(plan, slot);
  plan.fetched = fetched;
  plan.written = 0;
  let i: u32 = 0;
  for (; i < fetched && plan.positionCount < plan.slots; i++) fetchTo(plan, begin, i, plan.positionCount++);
  plan.evicted = fetched - i;
  plan.evictable -= fetched - i;
  for (let changed: u32 = 0; changed < 2; changed++) {
    for (let taken = takeIdle(plan, changed, min(READ_AHEAD, fetched - i)); taken > 0;) {
      evictIdle(plan, changed, taken, begin, i);
      i += taken;
      taken = takeIdle(plan, changed, min(READ_AHEAD, fetched - i));
    }
  }
  for (let step = plan.announced - 1; i < fetched; step--) {
    for (let changed: u32 = 0; changed < 2; changed++) {
      const rows = endsOf(plan, step % plan.window, changed);
      for (; i < fetched && rows.first < rows.end; i++) evictSoon(plan, step % plan.window, changed, rows.first++, begin, i);
    }
  }
  return true;
}

/** Gives a position to a row that is fetched, of the batch whose lists are at `begin`; the list of rows has its index. */
// @ts-ignore: decorator
@inline
function fetchTo(plan: Plan, begin: usize, i: u32, position: u32): void {
  const at = word(plan.fetchedRows, i);
  const fields = entryAt(plan.groups, word(plan.used + begin, at));
  fields.position = position;
  setWord(plan.positions + begin, at, position);
  setWord(plan.fetchedRows, i, fields.key - 1);
  setWord(plan.fetchedPositions, i, position);
}

// @ts-ignore: decorator
@inline
function writeBack(plan: Plan, fields: Entry): void {
  setWord(plan.writtenRows, plan.written, fields.key - 1);
  setWord(plan.writtenPositions, plan.written++, fields.position);
  fields.uses &= COUNTS;
}

/** Evicts `taken` idle rows, which are in `chosen`, for the fetched rows from the given one on. */
function evictIdle(plan: Plan, changed: u32, taken: u32, begin: usize, fetched: u32): void {
  const groups = plan.groups, chosen = plan.chosen;
  let read: u32 = 0;
  for (let i: u32 = 0; i < taken; i++) read ^= entryAt(groups, word(chosen, i)).key;
  plan.read = read;
  for (let i: u32 = 0; i < taken; i++) {
    const entry = word(chosen, i);
    const fields = entryAt(groups, entry);
    if (changed) writeBack(plan, fields);
    fetchTo(plan, begin, fetched + i, fields.position);
    fields.position = NONE;
    dropEntry(plan, entry, fields);
  }
}

/** Evicts a row of a list for a fetched row. Its entry stays, because batches use it. */
function evictSoon(plan: Plan, slot: u32, changed: u32, i: u32, begin: usize, fetched: u32): void {
  const fields = entryAt(plan.groups, word(soonOf(plan, slot, changed), i));
  if (changed) writeBack(plan, fields);
  fetchTo(plan, begin, fetched, fields.position);
  fields.position = NONE;
}

export function finish(changed: u32): void {
  const plan = thePlan();
  const slot = plan.finished++ % plan.window;
  const groups = plan.groups, begin = slot * plan.batchRows, count = word(plan.counts, slot);
  const used = plan.used + (<usize>begin << 2);
  makeRoom(plan, 0, count);
  makeRoom(plan, 1, count);
  const log = logOf(plan, 1), first = plan.changedFirst;
  let items = plan.changedItems, evictable: u32 = 0, i: u32 = 0;
  for (const end = min(changed, count); i < end; i++) {
    const entry = word(used, i);
    const fields = entryAt(groups, entry);
    const uses = (fields.uses - (USE + PIN)) | CHANGED;
    fields.uses = uses;
    const index = indexInLog(plan, first, items), isIdle = <u32>(uses == CHANGED);
    setWord(log, index, entry);
    fields.link ^= (fields.link ^ index) & (0 - isIdle);
    items += isIdle;
    evictable += <u32>((uses & COUNTS) < PIN);
    if (((uses & COUNTS) - 1) < PIN - 1) appendSoon(plan, entry, word(plan.nextUses, begin + i), 1);
  }
  plan.changedItems = items;
  for (; i < count; i++) {
    const entry = word(used, i);
    const fields = entryAt(groups, entry);
    const uses = fields.uses - (USE + PIN);
    fields.uses = uses;
    if ((uses & COUNTS) >= PIN) continue;
    evictable++;
    if ((uses & COUNTS) == 0) appendIdle(plan, entry, fields, uses >> 31);
    else appendSoon(plan, entry, word(plan.nextUses, begin + i), uses >> 31);
  }
  plan.evictable += evictable;
}

export function clean(): u32 {
  const plan = thePlan();
  const groups = plan.groups, chosen = plan.chosen;
  plan.written = 0;
  const taken = takeIdle(plan, 1, min(READ_AHEAD, plan.batchRows));
  makeRoom(plan, 0, taken);
  for (let i: u32 = 0; i < taken; i++) {
    const entry = word(chosen, i);
    const fields = entryAt(groups, entry);
    writeBack(plan, fields);
    appendIdle(plan, entry, fields, 0);
  }
  for (let slot: u32 = 0; slot < plan.window && plan.written == 0; slot++) {
    const changed = endsOf(plan, slot, 1);
    for (let i = changed.first; i < changed.end; i++) {
      const entry = word(soonOf(plan, slot, 1), i);
      writeBack(plan, entryAt(groups, entry));
      appendSoon(plan, entry, slot, 0);
    }
    changed.first = changed.end = 0;
  }
  for (let step = plan.finished; step != plan.planned && plan.written == 0; step++) {
    const slot = step % plan.window;
    for (let i: u32 = 0; i < word(plan.counts, slot); i++) {
      const fields = entryAt(groups, word(plan.used, slot * plan.batchRows + i));
      if ((fields.uses & CHANGED) != 0) writeBack(plan, fields);
    }
  }
  return plan.written;
}

export function positionOf(row: u32): u32 {
  const plan = thePlan();
  const entry = findEntry(plan, row, homeOf(row, plan.groupCount));
  return entry == 0 ? NONE : entryAt(plan.groups, entry).position;
}

export function rowAt(position: u32): u32 {
  const plan = thePlan();
  for (let entry = GROUP; entry < (plan.groupCount + 1) * GROUP; entry++) {
    const fields = entryAt(plan.groups, entry);
    if (fields.key != 0 && fields.position == position) return fields.key - 1;
  }
  return NONE;
}
