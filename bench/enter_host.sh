#!/bin/sh
# What ssh is to mpirun where hosts are network namespaces: NAME COMMAND...
host=$1
shift
exec ip netns exec "$host" sh -c "$*"
