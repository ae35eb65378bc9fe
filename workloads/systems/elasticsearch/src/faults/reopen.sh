
# Closes the index, on all nodes, and opens it again.

# state: open, close, or nothing if nobody says so.
state() {
  ask GET "/_cluster/state/metadata/$(cat "$index")" | tr -d ' \n' | grep -oE '"state":"(open|close)"' | head -n 1 | cut -d '"' -f 4
}

case $1 in
  start) find_index && ask POST "/$(cat "$index")/_close" ;;
  verify) [ -s "$index" ] && [ "$(state)" = close ] && echo "closed: $(cat "$index")" ;;
  undo)
    [ -s "$index" ] || exit 0
    for _ in 1 2 3 4 5; do
      ask POST "/$(cat "$index")/_open" >/dev/null
      [ "$(state)" = open ] && exit 0
      sleep 1
    done
    echo "nobody says that it is open"
    exit 1 ;;
esac
