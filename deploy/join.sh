#!/bin/sh
# Runs a command on a machine that has joined the Ray cluster at RAY_ADDRESS without lending it a CPU: from there jobs can be submitted.
#   join.sh COMMAND...
# Ray's processes here end whenever the head does; they are started again until they find it.
while :; do
    ray start --address="$RAY_ADDRESS" --num-cpus=0 --num-gpus=0 --object-store-memory=500000000 --disable-usage-stats --block
    sleep 2
done &
exec "$@"
