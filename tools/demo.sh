#!/bin/sh
# A short conversation with the bundled model: tools/demo.sh [PROGRAM]
#
# Shows each command as one would type it, then its answer. All answers are greedy (--temp 0), so
# every run on every machine prints the same text.
set -eu
cd "$(dirname "$0")/.."
program=${1:-build/release/fathom}

ask() {
  prompt=$1
  think=$2
  printf '\n$ %s run -p "%s" --think %s --temp 0\n' "$program" "$prompt" "$think"
  "$program" run -p "$prompt" --think "$think" --temp 0
}

cat <<'TEXT'
This is a demonstration model, not DeepSeek-V4: a very small one of the same architecture, in
the same file format and run by the same code. It knows greetings, small sums and products, and
little else. Watch what thinking changes.
TEXT

ask "Hello" none
ask "Who are you?" high
ask "Compute 72*36." none
ask "Compute 72*36." max

cat <<'TEXT'

72*36 is 2592: wrong without thinking, right with Think Max. All of this was the demonstration
model in models/nano; a real checkpoint is chosen with -m DIR.
TEXT
