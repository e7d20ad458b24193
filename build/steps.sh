# step LABEL COMMAND…: says on one line what is being done and how long it took; the command's output is shown only when it fails.
step() {
  local label=$1 log started=$EPOCHREALTIME status=0
  shift
  log=$(mktemp)
  printf '%s … ' "$label"
  "$@" >"$log" 2>&1 || status=$?
  if [[ $status != 0 ]]; then
    printf 'failed (status %s)\n' "$status"
    cat "$log" >&2
    rm -f "$log"
    return "$status"
  fi
  rm -f "$log"
  awk -v a="$started" -v b="$EPOCHREALTIME" 'BEGIN { printf "%.1f s\n", b - a }'
}
