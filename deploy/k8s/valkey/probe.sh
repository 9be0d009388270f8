#!/bin/sh
# Succeeds where the server or the sentinel of this pod (`probe.sh server`, `probe.sh sentinel`) can be used,
# and with `alive` behind it where it answers at all. It asks on LOCAL, so that names need not be resolved.
set -eu

ask() { # ask PORT WORD...
  secret=$(tr -d '\r\n' <"$SECRETS/watcher")
  port=$1
  shift
  # shellcheck disable=SC2086 # options, several words
  REDISCLI_AUTH=$secret timeout 3 valkey-cli -h "$LOCAL" -p "$port" $CLI_OPTIONS --user watcher "$@" |
    tr -d '\r'
}

case $* in
  "server alive") said=$(ask "$PORT" ping) && [ -n "$said" ] ;;
  "sentinel alive") said=$(ask "$SENTINEL_PORT" ping) && [ -n "$said" ] ;;
  server)
    # A master that has replicas enough to take a write, or a replica in step with its master.
    said=$(ask "$PORT" info)
    echo "$said" | grep -qx loading:0
    case $said in
      *role:master*) echo "$said" | grep -q '^min_slaves_good_slaves:[1-9]' ;;
      *) echo "$said" | grep -qx master_link_status:up ;;
    esac
    ;;
  # A majority can be reached that would name another master, and a replica is known that it could name.
  sentinel)
    ask "$SENTINEL_PORT" sentinel ckquorum sidecars | grep -q '^OK'
    ask "$SENTINEL_PORT" sentinel replicas sidecars | grep -q .
    ;;
  *)
    echo "probe.sh: server or sentinel, and not $*" >&2
    exit 2
    ;;
esac
