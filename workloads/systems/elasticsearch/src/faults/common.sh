#!/bin/bash
# What faults of Elasticsearch's own have in common. Each is a program with the verbs `start`, `verify` and `undo`.
config=/var/lib/gainsay-elasticsearch/config/elasticsearch.yml
# The index of the run, which is the workload's.
index=$0.index

# request SERVER METHOD PATH [BODY]: what a server answers, without its head.
request() {
  exec 3<>"/dev/tcp/$1/9200" || return 1
  # Without a body no type of it: up to 2.x the answer follows that, and is to be plain here.
  printf "%s %s HTTP/1.0\r\nConnection: close\r\n${4:+Content-Type: application/json\r\n}Content-Length: %s\r\n\r\n%s" "$2" "$3" "${#4}" "$4" >&3
  tr -d '\r' <&3 | sed '1,/^$/d'
}
export -f request

# ask METHOD PATH [BODY]: what this node answers, or the first of the others that does: this one may be dead.
ask() {
  local server answer
  for server in 127.0.0.1 $(sed -nE 's/^discovery\.(zen\.ping\.unicast\.hosts|seed_hosts): //p' "$config" | tr -d '[]",' | sed 's/:9300//g'); do
    answer=$(timeout 4 bash -c 'request "$@"' ask "$server" "$@" 2>/dev/null)
    [ -n "$answer" ] && { printf '%s\n' "$answer"; return 0; }
  done
  return 1
}

# Notes which index it is. Not that by which recovery is proved.
find_index() {
  ask GET '/_cat/indices?h=index' | tr -d ' ' | grep '^gainsay-' | grep -v '^gainsay-recovery-' | head -n 1 >"$index"
  [ -s "$index" ] || { echo "no index of a run, or no answer"; exit 75; }
}
