// The lists of rows in fast memory that no planned batch uses.

import { Plan, Entry, Ends, entryAt, word, setWord } from "./entries";

// Logs of idle rows, clean (0) and changed (1), least recently used first. A row that leaves a log before the first one
// leaves a hole, 0.

// @ts-ignore: decorator
@inline
export function logOf(plan: Plan, changed: u32): usize {
  return plan.logs + (<usize>(changed * plan.logCapacity) << 2);
}

// @ts-ignore: decorator
@inline
export function indexInLog(plan: Plan, first: u32, i: u32): u32 {
  const index = first + i;
  return index < plan.logCapacity ? index : index - plan.logCapacity;
}

/** Appends a row, for which there is room. */
export function appendIdle(plan: Plan, entry: u32, fields: Entry, changed: u32): void {
  const items = changed ? plan.changedItems++ : plan.cleanItems++;
  const index = indexInLog(plan, changed ? plan.changedFirst : plan.cleanFirst, items);
  setWord(logOf(plan, changed), index, entry);
  fields.link = index;
}

/** Removes the holes of a log if there is no room for more than `rows` rows. */
export function makeRoom(plan: Plan, changed: u32, rows: u32): void {
  const items = changed ? plan.changedItems : plan.cleanItems;
  if (items + rows < plan.logCapacity) return;
  const log = logOf(plan, changed), groups = plan.groups;
  const first = changed ? plan.changedFirst : plan.cleanFirst;
  let kept: u32 = 0;
  for (let i: u32 = 0; i < items; i++) {
    const entry = word(log, indexInLog(plan, first, i));
    if (entry == 0) continue;
    const index = indexInLog(plan, first, kept++);
    setWord(log, index, entry);
    entryAt(groups, entry).link = index;
  }
  if (changed) plan.changedItems = kept;
  else plan.cleanItems = kept;
}

/** Takes the first rows of a log, at most `most`, and returns their number; they are in `chosen`. */
export function takeIdle(plan: Plan, changed: u32, most: u32): u32 {
  const log = logOf(plan, changed), chosen = plan.chosen;
  const first = changed ? plan.changedFirst : plan.cleanFirst, items = changed ? plan.changedItems : plan.cleanItems;
  let taken: u32 = 0, i: u32 = 0;
  for (; i < items && taken < most; i++) {
    const entry = word(log, indexInLog(plan, first, i));
    setWord(chosen, taken, entry);
    taken += <u32>(entry != 0);
  }
  if (changed) {
    plan.changedFirst = indexInLog(plan, first, i);
    plan.changedItems = items - i;
  } else {
    plan.cleanFirst = indexInLog(plan, first, i);
    plan.cleanItems = items - i;
  }
  return taken;
}

// Lists of rows whose next use is announced, by the slot of that batch, clean and changed. A row enters each list once.

// @ts-ignore: decorator
@inline
export function endsOf(plan: Plan, slot: u32, changed: u32): Ends {
  return changetype<Ends>(plan.soonEnds + (<usize>(2 * slot + changed) << 3));
}

// @ts-ignore: decorator
@inline
export function soonOf(plan: Plan, slot: u32, changed: u32): usize {
  return plan.soon + ((<usize>(2 * slot + changed) * plan.batchRows) << 2);
}

// @ts-ignore: decorator
@inline
export function appendSoon(plan: Plan, entry: u32, slot: u32, changed: u32): void {
  setWord(soonOf(plan, slot, changed), endsOf(plan, slot, changed).end++, entry);
}

export function soonRows(plan: Plan, slot: u32): u32 {
  const clean = endsOf(plan, slot, 0), changed = endsOf(plan, slot, 1);
  return clean.end - clean.first + changed.end - changed.first;
}

export function clearSoon(plan: Plan, slot: u32): void {
  for (let changed: u32 = 0; changed < 2; changed++) {
    const ends = endsOf(plan, slot, changed);
    ends.first = ends.end = 0;
  }
}
