
# Moves the copies of shards away from this node, to others that have none of them; at the end they may come back.

# A setting of each node's own, so that several do not overwrite each other's.
attribute=gainsay_$(printf %s "$GAINSAY_NODE" | tr -c 'A-Za-z0-9' _)

set_to() {
  ask PUT "/$(cat "$index")/_settings" "{\"index.routing.allocation.exclude.$attribute\": \"$1\"}"
}

# excluded: yes, no, or nothing if nobody says so.
excluded() {
  local settings
  settings=$(ask GET "/$(cat "$index")/_settings?flat_settings=true" | tr -d ' \n')
  case $settings in
    *"exclude.$attribute\":\"away\""*) echo yes ;;
    *'"index.number_of_shards"'*) echo no ;;
  esac
}

# copies: the state of each copy that is here, a line each.
copies() {
  ask GET "/_cat/shards/$(cat "$index")?h=state,node" | grep -E "^[A-Z]+ +$GAINSAY_NODE( |\$)"
}

case $1 in
  start)
    find_index
    rm -f "$index.moving"
    before=$(copies | wc -l)
    set_to away
    # Proved when a copy has begun to move, or is gone.
    for _ in 1 2 3 4 5 6 7 8 9 10; do
      now=$(copies)
      left=$(printf '%s' "$now" | grep -c .)
      if [ "${now#*RELOCATING}" != "$now" ] || [ "$left" -lt "$before" ]; then
        echo "copies here: $before, then $left ($(printf '%s' "$now" | grep -c RELOCATING) of them moving)" >"$index.moving"
        exit 0
      fi
      sleep 0.3
    done ;;
  verify) [ -s "$index" ] && [ "$(excluded)" = yes ] && cat "$index.moving" ;;
  undo)
    [ -s "$index" ] || exit 0
    for _ in 1 2 3 4 5; do
      set_to "" >/dev/null
      [ "$(excluded)" = no ] && exit 0
      sleep 1
    done
    echo "nobody says that copies may come back"
    exit 1 ;;
esac
