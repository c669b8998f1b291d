/** Which host has which rows of sharded tables: global row r is on host r % hosts, as row floor(r / hosts) of its shard. */

/** One host of those that shard the tables. */
export interface Shard {
  readonly host: number;
  readonly hosts: number;
}

/** The shard of a single host: all rows. */
export const WHOLE: Shard = { host: 0, hosts: 1 };

/** Number of rows of a shard of `rows` rows. */
export function rowsOf({ host, hosts }: Shard, rows: number): number {
  return Math.ceil((rows - host) / hosts);
}

export function holds({ host, hosts }: Shard, row: number): boolean {
  return row % hosts === host;
}
