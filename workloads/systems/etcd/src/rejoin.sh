# Brings a node in again that was taken out of the cluster, or has lost its data: what the controller would do, for when it is gone.
# Given: me (this node's peer URL), others (the other nodes' client addresses), known (name=URL of all nodes, a line each), data (the
# folder), start (a script that starts the daemon, with @members@ for the initial cluster), runs (a script that prints its processes).
[ -z "$(sh -c "$runs")" ] || exit 0

post() { # address, path, body
  timeout 8 bash -c '
    exec 3<>"/dev/tcp/${0%:*}/${0##*:}" || exit 1
    printf "POST %s HTTP/1.0\r\nContent-Type: application/json\r\nContent-Length: %s\r\n\r\n%s" "$1" "${#2}" "$2" >&3
    cat <&3' "$@" 2>/dev/null
}

join() { # what a member says of all members
  members=
  for node in $known; do
    case $1 in *"\"${node#*=}\""*) members=$members${members:+,}$node ;; esac
  done
  sh -c "${start//@members@/$members}"
}

left=60
while :; do
  for other in $others; do
    said=$(post "$other" /v3/cluster/member/list '{}')
    case $said in *'"members"'*) ;; *) continue ;; esac
    mine=$(printf %s "$said" | grep -o '{[^{}]*}' | grep -F "\"$me\"")
    case $mine in
      *'"name":"'[!\"]*)
        # A member that has been there before. With its data it starts; without, it must be taken out first.
        if [ -d "$data/member" ]; then join "$said"; exit; fi
        id=$(printf %s "$mine" | sed -n 's/.*"ID":"\([0-9]*\)".*/\1/p')
        done=$(post "$other" /v3/cluster/member/remove "{\"ID\":\"$id\"}")
        ;;
      ?*)
        # One that was taken in and has not started yet. What data there is is that of an earlier one.
        find "$data" -mindepth 1 -delete 2>/dev/null
        join "$said"
        exit
        ;;
      *) done=$(post "$other" /v3/cluster/member/add "{\"peerURLs\":[\"$me\"]}") ;;
    esac
    # Who could not do it may be cut off from the rest; then another is asked.
    case $done in *'"members"'*) break ;; esac
  done
  left=$((left - 1))
  [ $left -gt 0 ] || { echo "no other member takes it in: ${done:-$said}" >&2; exit 1; }
  sleep 0.5
done
