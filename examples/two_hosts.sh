#!/bin/sh
# Trains on two hosts over MPI. Without names of hosts, this machine plays both:
#
#     examples/two_hosts.sh DATASET /shared/run             # on this machine
#     HOSTS=a:4,b:4 examples/two_hosts.sh DATASET /shared/run   # four processes on each of the hosts a and b
#
# Hotset, Deno and the dataset must be at the same paths on all hosts, and the run on a disk that all of them write to.
# docs/cluster.md says more.
set -eu
data=$1 out=$2
here=$(cd "$(dirname "$0")/.." && pwd)
mpirun=${MPIRUN:-mpirun} deno=${DENO:-deno}
train="$deno run -A $here/cli.ts train $data --collective mpi --out $out --mode cpu --batch-size 512 --epochs 1"

if [ -n "${HOSTS:-}" ]; then
  exec "$mpirun" --host "$HOSTS" $train
elif "$mpirun" --version | grep -q 'Open MPI'; then
  exec "$mpirun" --oversubscribe -n 1 -x HOTSET_HOST=a $train : -n 1 -x HOTSET_HOST=b $train
else
  exec "$mpirun" -n 1 -env HOTSET_HOST a $train : -n 1 -env HOTSET_HOST b $train
fi
