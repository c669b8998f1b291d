/** Run by mpirun: checks the groups of a process. Prints one line per rank. */
import assert from "node:assert/strict";
import { openWorld } from "../../src/parallel/mpi_world.ts";
import { checkGroup } from "./check_group.ts";

const world = openWorld();
try {
  const { node, peers, machine } = world;
  assert.equal(node.size * peers.size, world.size);
  assert.equal(peers.rank * node.size + node.rank, world.rank, "ranks are numbered node by node");
  assert.deepEqual([machine.rank, machine.size], [world.localRank, world.localSize]);
  const apart = world.withoutSharedMemory("test");
  assert.deepEqual([apart.rank, apart.node.size, apart.peers.size], [world.rank, 1, world.size]);
  for (const group of [world, node, peers, machine, apart.node, apart.peers]) await checkGroup(group);
  console.log(`rank ${world.rank} of ${world.size} is done`);
  world[Symbol.dispose]();
} catch (error) {
  console.error(error);
  world.abort(error);
}
