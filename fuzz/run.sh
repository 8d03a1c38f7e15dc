#!/bin/sh
# Runs one fuzz target: fuzz/run.sh PROGRAM SECONDS FOLDER
#
# PROGRAM is a built <name>_fuzz. New inputs go to FOLDER/<name>/corpus and an input that fails to
# FOLDER/<name>/; the seeds in fuzz/corpus/<name>/ are only read, so the source tree stays as it is.
# The exit status is the fuzzer's: 0 when nothing was found.
set -eu
program=$1
seconds=$2
name=$(basename "$program" _fuzz)
scratch=$3/$name
seeds=$(dirname "$0")/corpus/$name

mkdir -p "$scratch/corpus"
set -- "$scratch/corpus"
if [ -d "$seeds" ]; then
  set -- "$@" "$seeds"
fi
exec "$program" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 \
  -artifact_prefix="$scratch/" "$@"
