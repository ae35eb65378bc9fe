# Brings a node in again that was taken out of the replica set: what the controller would do, for when it is gone.
# Given: me (this node's server), others (the other nodes' servers, a line each), data (the folder), start (a script that starts the
# server, unless it runs), runs (a script that prints its processes).
#
# Servers are asked in their own protocol. BSON is bytes here as text: two hexadecimal digits each, with a space before them.

le() { # a number, as its lowest four bytes
  printf ' %02x %02x %02x %02x' $(($1 & 255)) $(($1 >> 8 & 255)) $(($1 >> 16 & 255)) $(($1 >> 24 & 255))
}
number() { # the four bytes that a text begins with
  local bytes=${1:0:12}
  set -- $bytes
  echo $((16#$4$3$2$1))
}
text() { printf %s "$1" | od -An -v -tx1 | tr -d '\n'; }
string() { printf '%s%s 00' "$(le $((${#1} + 1)))" "$(text "$1")"; }
named() { printf ' %s%s 00' "$1" "$(text "$2")"; } # kind and name, with which an element begins
document() { printf '%s%s 00' "$(le $((${#1} / 3 + 5)))" "$1"; } # of elements
elements() { printf %s "${1:12:$((($(number "$1") - 5) * 3))}"; } # of the document that a text begins with

ask() { # server, elements of a command; what is answered, from its document on
  local body message
  body=$(document "$2$(named 02 '$db')$(string admin)")
  message=" 01 00 00 00 00 00 00 00 dd 07 00 00 00 00 00 00 00$body"
  message="$(le $((${#message} / 3 + 4)))$message"
  timeout 8 bash -c '
    exec 3<>"/dev/tcp/${0%:*}/${0##*:}" || exit 1
    printf "${1// /\\x}" >&3
    length=$(head -c 4 <&3 | od -An -tu4)
    head -c $((length - 4)) <&3 | od -An -v -tx1 | tr -d "\n"' "$1" "$message" 2>/dev/null | cut -c52-
}
ok() { [[ $1 == *"$(named 01 ok) 00 00 00 00 00 00 f0 3f"* ]]; }

grown() { # elements of a configuration; the same of the next one, which has this node in it
  local kind mark before rest array hosts id last=-1 member
  local config=$1
  for kind in 10 12; do
    mark=$(named $kind version)
    [[ $config == *"$mark"* ]] || continue
    before=${config%%"$mark"*}$mark rest=${config#*"$mark"}
    config=$before$(le $(($(number "$rest") + 1)))${rest:12}
  done
  mark=$(named 04 members)
  before=${config%%"$mark"*}$mark rest=${config#*"$mark"}
  array=$(elements "$rest") rest=${rest:$(($(number "$rest") * 3))}
  mark=$(named 02 host)
  hosts=${array//"$mark"/}
  hosts=$(((${#array} - ${#hosts}) / ${#mark}))
  while read -r id; do
    id=$(number " ${id#* 5f 69 64 00 }")
    [ "$id" -le $last ] || last=$id
  done < <(printf %s "$array" | grep -oE ' 1[02] 5f 69 64 00( ..){4}')
  member="$(named 10 _id)$(le $((last + 1)))$mark$(string "$me")"
  member="$member$(named 01 priority) 00 00 00 00 00 00 f0 3f$(named 10 votes)$(le 1)"
  array="$array$(named 03 $hosts)$(document "$member")"
  printf %s "$before$(document "$array")$rest"
}

bring_in() {
  local left=60 other said config done
  while :; do
    for other in $others; do
      said=$(ask "$other" "$(named 10 replSetGetConfig)$(le 1)")
      ok "$said" || continue
      config=$(elements "${said#*"$(named 03 config)"}")
      # One that was never taken out has its data, or gets it anew from the others.
      if [[ $config == *"$(named 02 host)$(string "$me")"* ]]; then break 2; fi
      # What data there is, is that of an earlier member.
      [ -n "$(sh -c "$runs")" ] || find "$data" -mindepth 1 -delete 2>/dev/null
      # Only the primary does it; and it refuses while the last change has not reached a majority.
      done=$(ask "$other" "$(named 03 replSetReconfig)$(document "$(grown "$config")")")
      if ok "$done"; then break 2; fi
    done
    left=$((left - 1))
    [ $left -gt 0 ] || { echo "no other member takes it in" >&2; exit 1; }
    sleep 0.5
  done
  mkdir -p "$data"
  sh -c "$start"
}
