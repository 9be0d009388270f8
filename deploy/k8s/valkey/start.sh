#!/bin/sh
# Starts a server (`start.sh server`) or a sentinel (`start.sh sentinel`) of the set.
#
# The master is whom the sentinels of other pods name, else whom this pod's own sentinel knew last, and only
# where nobody has known one yet FIRST. Passwords stay in files: the servers' users get their hashes.
set -eu
umask 077
role=$1
kept=$DATA/sentinel/sentinel.conf

password() {
  text=$(tr -d '\r\n' <"$SECRETS/$1")
  case $text in
    "" | *[!A-Za-z0-9_.-]*)
      echo "start.sh: the password $1 is empty, or has other characters than A-Z a-z 0-9 _ . -" >&2
      return 1
      ;;
  esac
  printf %s "$text"
}

hash_of() {
  printf %s "$1" | sha256sum | cut -d ' ' -f 1
}

# Ask the sentinels of other pods, and print what the first of them that knows has to say.
asked() {
  for peer in $PEERS; do
    [ "$peer" != "$HOST" ] || continue
    # shellcheck disable=SC2086 # options, several words
    said=$(REDISCLI_AUTH=$watcher timeout 3 valkey-cli -e -h "$peer" -p "$SENTINEL_PORT" \
      $CLI_OPTIONS --user watcher sentinel "$1" sidecars 2>/dev/null) || continue
    [ -z "$said" ] || { echo "$said" && return; }
  done
}

# Print the master.
master() {
  found=$(asked get-master-addr-by-name | head -n 1)
  if [ -z "$found" ] && [ -s "$kept" ]; then
    found=$(sed -n 's/^sentinel monitor sidecars "\{0,1\}\([A-Za-z0-9.:-]*\)"\{0,1\} .*/\1/p' "$kept")
  fi
  case $found in
    *[!A-Za-z0-9.:-]*)
      echo "start.sh: the sentinels name no address" >&2
      return 1
      ;;
  esac
  echo "${found:-$FIRST}"
}

server() {
  sidecar=$(password sidecar)
  replication=$(password replication)
  master=$(master)
  # A master whose disk was lost would have its replicas forget all: it waits until another is the master.
  while [ "$master" = "$HOST" ] && [ ! -d "$DATA/appendonlydir" ] && [ -n "$(asked replicas)" ]; do
    echo "start.sh: the master has lost its disk, and waits until the sentinels name another" >&2
    sleep 1
    master=$(master)
  done
  sed -e "s/@sidecar@/#$(hash_of "$sidecar")/" -e "s/@replication@/#$(hash_of "$replication")/" \
    -e "s/@watcher@/#$(hash_of "$watcher")/" "$CONFIG/server.acl" >"$RUN/users.acl"
  {
    cat "$CONFIG/valkey.conf"
    echo "masterauth $replication"
    echo "replica-announce-ip $HOST"
    [ "$master" = "$HOST" ] || echo "replicaof $master $PORT"
  } >"$RUN/valkey.conf"
  exec valkey-server "$RUN/valkey.conf"
}

sentinel() {
  sentinels=$(password sentinels)
  mkdir -p "$DATA/sentinel"
  known=$(grep -E '^sentinel (myid|monitor|config-epoch|leader-epoch|current-epoch|known-[a-z]+) ' \
    "$kept" 2>/dev/null) || known=
  case $known in
    *"sentinel monitor "*) ;;
    *)
      master=$(master)
      known="sentinel monitor sidecars $master $PORT 2"
      ;;
  esac
  sed -e "s/@sentinels@/#$(hash_of "$sentinels")/" -e "s/@watcher@/#$(hash_of "$watcher")/" \
    "$CONFIG/sentinel.acl" >"$DATA/sentinel/users.acl"
  {
    cat "$CONFIG/sentinel.conf"
    echo "sentinel sentinel-user watcher"
    echo "sentinel sentinel-pass $watcher"
    echo "sentinel announce-ip $HOST"
    echo "sentinel announce-port $SENTINEL_PORT"
    echo "$known"
    echo "sentinel auth-user sidecars watcher"
    echo "sentinel auth-pass sidecars $watcher"
    echo "sentinel down-after-milliseconds sidecars 3000"
    echo "sentinel failover-timeout sidecars 15000"
    echo "sentinel parallel-syncs sidecars 1"
  } >"$kept.new"
  mv "$kept.new" "$kept"
  exec valkey-server "$kept" --sentinel
}

watcher=$(password watcher)
case $role in
  server | sentinel) "$role" ;;
  *)
    echo "start.sh: server or sentinel, and not $role" >&2
    exit 2
    ;;
esac
