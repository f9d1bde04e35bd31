# Functions of the demo. Sourced by run; expects CLUSTER (the program of tests/cluster).
# shellcheck shell=bash

say() { printf '\n\033[1m== %s\033[0m\n' "$*"; }

# in_cluster NAME COMMAND...: kubectl and friends with that cluster's kubeconfig.
in_cluster() { local name=$1; shift; "$CLUSTER" exec "$name" -- "$@"; }
a() { in_cluster a kubectl -n demo "$@"; }
b() { in_cluster b kubectl -n demo "$@"; }

# digest CLUSTER POD: one checksum over the volume at /data of that pod.
digest() { in_cluster "$1" kubectl -n demo exec -i "$2" -- sh -s <tests/support/digest.sh; }

# follow CLUSTER NAME: shows the progress of the mover whose pods have that app.kubernetes.io/name, until it has ended.
follow() {
  local selector="app.kubernetes.io/name=$2" deadline=$((SECONDS + 60))
  until in_cluster "$1" kubectl -n demo get pods -l "$selector" -o jsonpath='{.items[*].status.containerStatuses[*].state}' |
      grep -qE 'running|terminated'; do
    [ $SECONDS -lt $deadline ] || return 0
    sleep 0.1
  done
  in_cluster "$1" kubectl -n demo logs -f -l "$selector" --tail=-1 2>/dev/null | tests/demo/progress || true
}

# row LABEL: one line of the final table, from the status of the ReplicationSource.
row() {
  a get replicationsource database -o json | python3 -c '
import json, re, sys
status = json.load(sys.stdin)["status"]
logs = status["latestMoverStatus"]["logs"]
number = lambda pattern: int(re.search(pattern, logs).group(1))
print("%-22s %9d %9d %15d %15d %9.1f" % (sys.argv[1], number(r"(\d+) entries"), number(r"(\d+) files sent"),
      number(r"total size is (\d+)"), number(r"sent (\d+) bytes") + number(r"received (\d+) bytes"),
      sum(float(n) * {"h": 3600, "m": 60, "s": 1}[u] for n, u in re.findall(r"([\d.]+)([hms])", status["lastSyncDuration"]))))
' "$1" >>"$table"
}

# synchronize VALUE LABEL: triggers a synchronization, shows its progress, waits for its end.
synchronize() {
  a patch replicationsource database --type merge -p "{\"spec\":{\"trigger\":{\"schedule\":null,\"manual\":\"$1\"}}}"
  follow a src-database
  a wait replicationsource database --for=jsonpath="{.status.lastManualSync}=$1" --timeout=300s
  row "$2"
}

# image_of_b: the name of the destination's latest image.
image_of_b() { b get replicationdestination database -o jsonpath='{.status.latestImage.name}'; }

# await_new_image FORMER: waits until the destination has published another image than this.
await_new_image() {
  local deadline=$((SECONDS + 120))
  until [ -n "$(image_of_b)" ] && [ "$(image_of_b)" != "$1" ]; do
    [ $SECONDS -lt $deadline ] || { echo "cluster b published no new image" >&2; exit 1; }
    sleep 0.3
  done
}

# read_in_b NAME: a claim in b made from the latest image, and a pod that reads it.
read_in_b() {
  sed -e "s/@NAME@/$1/" -e "s/@IMAGE@/$(image_of_b)/" tests/demo/reader.yaml | b apply -f -
  b wait pod "$1" --for=condition=Ready --timeout=120s
}

# compare POD: fails unless the volume in a and its double in b have one digest.
compare() {
  local in_a in_b
  in_a=$(digest a writer); in_b=$(digest b "$1")
  printf 'volume in cluster a  %s\nits double in b      %s\n' "$in_a" "$in_b"
  [ -n "$in_a" ] && [ "$in_a" = "$in_b" ] || { echo "the digests differ" >&2; exit 1; }
}
