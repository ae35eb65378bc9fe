# Starts Elasticsearch as the user $1. Its classes are in $2, or in $3 where the limit on open files of this node is too low
# for it, with what $4 adds to the options of its start program; the rest is the program and its arguments.
user=$1 classes=$2 changed=$3 options=$4; shift 4
mark=$HOME/changed
rm -f "$mark"
if ! ulimit -n 65536 2>/dev/null; then
  ulimit -n "$(ulimit -Hn)"
  [ "$classes" = "$changed" ] && [ -z "$options" ] || : >"$mark"
  classes=$changed ES_JAVA_OPTS="$ES_JAVA_OPTS $options"
fi
export CLASSPATH="$classes" ES_JAVA_OPTS
exec setpriv --reuid="$user" --regid="$user" --init-groups "$@"
