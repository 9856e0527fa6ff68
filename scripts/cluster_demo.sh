#!/usr/bin/env bash
# A real cluster on this machine: one coordinator and four workers of unequal speed over TLS, on the demo's text. One worker
# and the coordinator are killed in the middle and started again; a replay of the journal shows that nothing was lost.
#   scripts/cluster_demo.sh RUBATO OUT [--set key=value ..]
set -euo pipefail

rubato=$1 out=$2
shift 2
sets=("$@")
recipe=recipes/demo.toml
scale=0.04                       # of the demo's speeds: two cores train faster than its four workers
speeds=(0.58 0.75 1.51 3.33)     # the recipe's fleet, seconds a step
grace=0.4                        # seconds; the recipe's, scaled, is 0.1, and sending and fsync alone may take that
say() { printf '%s\n' "cluster-demo: $*" >&2; }
scaled() { awk -v a="$1" -v b="$scale" 'BEGIN { printf "%.4f", a * b }'; }

declare -A pids=()
# Ends what this script started, whatever happens.
cleanup() {
  local name
  for name in "${!pids[@]}"; do kill "${pids[$name]}" 2>/dev/null || true; done
  wait 2>/dev/null || true
}
trap cleanup EXIT

start_coordinator() {
  "$rubato" coordinator $recipe --set run.method=dn-dylu --set "gate.grace.seconds=$grace" "${sets[@]}" --out "$out/run" \
    --listen "$address" --start-workers 4 --lease 5 --keep-deltas >>"$out/coordinator.out" 2>>"$out/coordinator.log" &
  pids[coordinator]=$!
}
start_worker() {
  "$rubato" worker --join-file "$out/join-$1" --dir "$out/worker-$1" --threads 1 --min-step-s "$(scaled "${speeds[$1]}")" \
    >>"$out/worker-$1.log" 2>&1 &
  pids[worker-$1]=$!
}
kill_hard() {
  kill -9 "${pids[$1]}"
  wait "${pids[$1]}" 2>/dev/null || true  # without bash's own words about it
}
# The local steps at the last evaluation.
steps() { { grep -o '"kind":"eval".*"phase":"train".*"local_steps":[0-9]*' "$out/run/metrics.jsonl" 2>/dev/null || true; } | tail -n 1 | grep -o '[0-9]*$' || echo 0; }
wait_for_steps() {
  while [ "$(steps)" -lt "$1" ]; do
    kill -0 "${pids[coordinator]}" 2>/dev/null || { say "the coordinator ended early: see $out/coordinator.log"; exit 1; }
    sleep 0.5
  done
}

mkdir -p "$out"
address=127.0.0.1:0
say "the coordinator pretrains, as the recipe says, then waits for four workers"
start_coordinator
until [ -f "$out/run/address" ]; do
  kill -0 "${pids[coordinator]}" 2>/dev/null || { tail -n 3 "$out/coordinator.log" >&2; exit 1; }
  sleep 0.2
done
address=$(cat "$out/run/address")
budget=$(sed -nE 's/^budget_local_steps = ([0-9]+).*/\1/p' "$out/run/recipe.toml")
for i in 0 1 2 3; do
  (umask 077 && "$rubato" invite "$out/run" >"$out/join-$i" 2>/dev/null)
  start_worker $i
done
say "four workers train to $budget local steps; follow it with  tail -f $out/coordinator.log"

wait_for_steps $((budget / 4))
say "kill -9 of worker 2 at step $(steps); it comes back in 8 s"
kill_hard worker-2
sleep 8
start_worker 2
wait_for_steps $((budget / 2))
say "kill -9 of the coordinator at step $(steps); it comes back in 3 s"
kill_hard coordinator
sleep 3
start_coordinator
wait "${pids[coordinator]}" || { say "the coordinator failed: see $out/coordinator.log"; exit 1; }
unset 'pids[coordinator]'
for i in 0 1 2 3; do
  wait "${pids[worker-$i]}" || { say "worker $i failed: see $out/worker-$i.log"; exit 1; }
  unset "pids[worker-$i]"
done
cat "$out/coordinator.out"
say "the journal again, from the first record, by another process"
"$rubato" replay "$out/run"
