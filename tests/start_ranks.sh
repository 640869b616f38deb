#!/usr/bin/env bash
# start_ranks.sh RANKS PROGRAM [ARGUMENTS...]: runs a program as so many processes that meet over TCP. Fails when one of them does.
set -u
ranks=$1
shift

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
export MINIM_RENDEZVOUS=$folder/ranks MINIM_WORLD_SIZE=$ranks

processes=()
for ((rank = 0; rank < ranks; ++rank)); do
  MINIM_RANK=$rank "$@" &
  processes+=($!)
done
result=0
for process in "${processes[@]}"; do
  wait "$process" || result=1
done
exit $result
