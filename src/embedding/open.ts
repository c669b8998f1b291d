/** Chooses the class of a rank's tables: the only file that knows all classes. */
import type { Backend, Buffer } from "../backend/backend.ts";
import type { BatchKind } from "../layout/layout.ts";
import { DeviceTables } from "./device.ts";
import { HostTables } from "./host.ts";
import { NoTables } from "./none.ts";
import { TransferredTables } from "./transferred.ts";
import { ReplicatedTables } from "./replicated.ts";
import type { RowExchange } from "./row_exchange.ts";
import { HostReplicaTables, ShardedTables } from "./sharded.ts";
import type { EmbeddingTables, RowMatrix, TableContext } from "./tables.ts";

/** Buffers and placement of a run's rows. */
export interface TableMemory {
  /** All rows, or this host's shard of them. */
  readonly full: RowMatrix;
  /** The hot replica, on the device that computes the dense part; undefined if no row is hot. */
  readonly hot: RowMatrix | undefined;
  /** Gradients of the pooled rows of a batch, in host memory; undefined if the host computes. */
  readonly hostGradients: Buffer | undefined;
  /** Maximum number of distinct rows in a batch in training, for each kind. */
  readonly mostDistinct: Readonly<Record<BatchKind, number>>;
  /** Exchanges of rows with other hosts, one for each batch in flight; undefined if `full` has all rows. */
  readonly exchanges?: readonly RowExchange[] | undefined;
}

/** Opens the tables of one rank. */
export function openTables(context: TableContext, memory: TableMemory): EmbeddingTables {
  if (context.shape.tableRows.length === 0) return new NoTables(hostComputes(context));
  const full = openFull(context, memory);
  return memory.hot === undefined
    ? full
    : new ReplicatedTables(context, full, openReplica(context, memory.hot, memory));
}

function openFull(
  context: TableContext,
  { full, hostGradients, exchanges, mostDistinct }: TableMemory,
): EmbeddingTables {
  const inHostMemory = (onHost: TableContext) =>
    exchanges === undefined ? new HostTables(onHost, full) : new ShardedTables(onHost, full, exchanges);
  if (hostComputes(context)) return inHostMemory(context);
  if (full.backend === context.device) return new DeviceTables(context, full, mostDistinct.cold);
  return new TransferredTables(context, hostGradients!, inHostMemory);
}

function openReplica(context: TableContext, hot: RowMatrix, { exchanges, mostDistinct }: TableMemory): EmbeddingTables {
  if (!hostComputes(context)) return new DeviceTables(context, hot, mostDistinct.hot);
  return exchanges === undefined ? new HostTables(context, hot) : new HostReplicaTables(context, hot, exchanges);
}

function hostComputes({ device, host }: TableContext): boolean {
  return device === (host as Backend);
}
