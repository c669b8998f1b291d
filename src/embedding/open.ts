/** Decides which class of tables a rank uses: the only file that knows all of them. */
import type { Backend, Buffer } from "../backend/backend.ts";
import type { BatchKind } from "../layout/layout.ts";
import { CachedTables, type RowCache } from "./cached.ts";
import { DeviceTables } from "./device.ts";
import { HostTables } from "./host.ts";
import { NoTables } from "./none.ts";
import { TransferredTables } from "./pooled_transfer.ts";
import { ReplicatedTables } from "./replicated.ts";
import { type HostExchange, HostReplicaTables, ShardedTables } from "./sharded.ts";
import type { EmbeddingTables, RowMatrix, TableContext } from "./tables.ts";

/** Where the rows of a run lie. */
export interface TableMemory {
  /** All rows, or this host's shard of them. */
  readonly full: RowMatrix;
  /** The replica of the hot rows, where the dense part of the model is computed; undefined if no row is hot. */
  readonly hot: RowMatrix | undefined;
  /** Gradients of the pooled rows of a batch, in host memory; undefined if the host computes. */
  readonly hostGradients: Buffer | undefined;
  /** The most distinct rows of a batch of each kind that is trained on. */
  readonly mostDistinct: Readonly<Record<BatchKind, number>>;
  /** How rows of other hosts are reached; undefined if `full` holds all. */
  readonly hosts?: HostExchange | undefined;
  /** Where rows are that have no place in `full`, whose rows are positions then; undefined if `full` holds all. */
  readonly cache?: RowCache | undefined;
}

/** The tables of one rank. */
export function openTables(context: TableContext, memory: TableMemory): EmbeddingTables {
  if (context.shape.tableRows.length === 0) return new NoTables(hostComputes(context));
  const full = openFull(context, memory);
  return memory.hot === undefined
    ? full
    : new ReplicatedTables(context, full, openReplica(context, memory.hot, memory));
}

function openFull(
  context: TableContext,
  { full, hostGradients, hosts, cache, mostDistinct }: TableMemory,
): EmbeddingTables {
  if (cache !== undefined) return new CachedTables(context, full, cache);
  const inHostMemory = (onHost: TableContext) =>
    hosts === undefined ? new HostTables(onHost, full) : new ShardedTables(onHost, full, hosts);
  if (hostComputes(context)) return inHostMemory(context);
  if (full.backend === context.device) return new DeviceTables(context, full, mostDistinct.cold);
  return new TransferredTables(context, hostGradients!, inHostMemory);
}

function openReplica(context: TableContext, hot: RowMatrix, { hosts, mostDistinct }: TableMemory): EmbeddingTables {
  if (!hostComputes(context)) return new DeviceTables(context, hot, mostDistinct.hot);
  return hosts === undefined ? new HostTables(context, hot) : new HostReplicaTables(context, hot, hosts);
}

function hostComputes({ device, host }: TableContext): boolean {
  return device === (host as Backend);
}
