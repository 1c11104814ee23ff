#!/bin/sh
# One day's attack on one application, for cron, systemd or Kubernetes. See docs/how-to/attack.md, "On a schedule".
#
# In: a folder with target.yaml, leave.json (the owner's authorisation) and owner.key.pub. Out: results/DATE.json there, and the
# exit code of the command: 0 nothing got worse, 10 a family really gives way more often than in baseline.json, 5 the leave does
# not hold (ended, not begun, quiet hours: nothing more was sent), anything else is an error. The first result without an error
# becomes the baseline; it is replaced by a person, never by itself. `touch stop` in the folder ends a run and keeps others from beginning.
set -u
cd "${1:?the folder of one application}" || exit 2
day=$(date -u +%Y-%m-%d)
mkdir -p results
set -- --daily --authorisation leave.json --trusted owner.key.pub --kill-file stop --format json --output "results/$day.json"
[ -f baseline.json ] && set -- "$@" --baseline baseline.json
afterguard attack target.yaml "$@"
code=$?
[ "$code" -eq 0 ] && [ ! -f baseline.json ] && cp "results/$day.json" baseline.json
[ "$code" -eq 5 ] && echo "the owner has to sign another leave: afterguard attack authorise target.yaml --key OWNER.key --owner NAME --tester NAME -o leave.json" >&2
exit "$code"
