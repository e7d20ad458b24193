#!/bin/bash
# Inside the emulated machine, as root. What it prints is read by main.ts: "ok" and "not ok" are results, the rest explains.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin
cd /root

check() {
  local name=$1 output
  shift
  if output=$("$@" 2>&1); then echo "ok $name"; else echo "not ok $name: status $?"; echo "$output"; fi
}

answers() {
  curl -sf --max-time 60 "http://127.0.0.1:8080/function/$1"
}

# Restored after every request, so that each is the first: function restored, which tells its pid and how many requests it remembers.
restores() {
  local answer pids=()
  for request in {1..10}; do
    answer=$(answers restored) || return
    [[ $answer == *', 1]' ]] || { echo "request $request is not the first: $answer"; return 1; }
    pids+=("$answer")
    sleep 1
  done
  [[ $(printf '%s\n' "${pids[@]}" | sort -u | wc -l) -lt 10 ]] || { echo "always another instance: ${pids[*]}"; return 1; }
}

# Per cent of a processor that function bomb had.
share() {
  answers "bomb?$1" | perl -ne '/"used": ([\d.]+), "passed": ([\d.]+)/ and print int(100 * $1 / $2)'
}

# While it forks at its limit it has a twentieth of a processor (and what it had until somebody looked), and afterwards its own again.
held() {
  local percent
  percent=$(share bomb=4)
  [[ -n $percent && $percent -lt 50 ]] || { echo "$percent while it forks"; return 1; }
  for round in {1..20}; do
    percent=$(share spin=1)
    [[ $percent -ge 30 ]] && return
  done
  echo "$percent afterwards"
  return 1
}

# While somebody works long and something short comes, the gateway is in the lane, and who works long is not.
lane() {
  local gateway
  gateway=$(pgrep -f '^flashd gateway' | head -n 1)
  answers "bomb?spin=6" > /dev/null &
  for round in {1..40}; do
    answers hello-c > /dev/null || return
    grep -q $'^Cpus_allowed_list:\t0$' "/proc/$gateway/status" && grep -qh $'^Cpus_allowed_list:\t1-3$' $(sed 's|.*|/proc/&/status|' /sys/fs/cgroup/system.slice/flashd.service/flashd-*/s*/cgroup.procs) && wait && break
    sleep 0.1
  done
  [[ $round -lt 40 ]] || { grep -h Cpus_allowed_list "/proc/$gateway/status"; return 1; }
  ! journalctl --no-pager -u flashd | grep sched_setaffinity
}

# Of each template some pages.
pins() {
  local told
  told=$(journalctl --no-pager -u flashd | grep -o 'template .* hot pages')
  [[ -n $told && $told != *' 0 hot pages'* ]] || { echo "$told"; return 1; }
}

# One request takes the marks of written pages (soft-dirty) from all its mappings; the next one sees that where nothing is restored, so that there is something to be seen.
marks() {
  local place=marks%20of%20written%20pages told
  for round in {1..3}; do
    answers "$1/hide/$place" > /dev/null || return
    sleep 3
    told=$(answers "$1/find/$place") || return
    sleep 3
    if [[ $1 == leaks ]]; then [[ $told == *'"found": null'* ]]; else [[ $told == *'"found": "'* ]]; fi || { echo "$told"; return 1; }
  done
}

echo "# $(uname -r), cgroups $(stat -fc %T /sys/fs/cgroup)"
for program in programs/*; do check "$program" timeout 300 "$program"; done
check "the service starts" ./flashd install
check "nothing is missing" flashd doctor
for directory in functions/*; do
  name=${directory##*/}
  check "$name is deployed" flashd deploy "$directory"
  check "$name answers" answers "$name"
done
check "an instance is restored" restores
check "marks of written pages are seen by the next request" marks leaks-used
check "marks of written pages are not seen after a restore" marks leaks
check "who forks without end is held back, and no longer than that" held
check "who works long leaves a processor to short requests" lane
check "forks get copies of what they write to" pins
journalctl --no-pager -u flashd | tail -n 30
echo "# done"
