#!/bin/sh
# A compiler for the storm. It reads its source, says two lines, makes two outputs, and misbehaves as it is told. What it says and
# makes follows from its name and its source alone; jobs.py knows the same.
#
#   STORM_JOB                its name; everything that it starts inherits it
#   STORM_SOURCE             a file of one line
#   STORM_META, STORM_LIB    where to write; as rustc it is told by --emit, and announces what is complete
#   STORM_DO                 stubborn, tree, holder, session, orphan, closed, big: what else it does
#   STORM_PAUSE              seconds before and within its second half
#   STORM_END                ok, fail-first, fail-late, endless-first, endless-late, or a signal's name
#   STORM_CODE               its exit code when it fails
#   STORM_PYTHON, STORM_ESCAPEE   what runs, and what is, the escapee that closes its descriptors
set -u

does() { case " $STORM_DO " in *" $1 "*) true ;; *) false ;; esac }
for_ever() { while :; do sleep 1000; done; }
# shellcheck disable=SC2153 # it is its own name and not a misspelling
metadata() { printf 'rust\0\0\0\011%s %s' "$STORM_JOB" "$source"; }

announces=no
for word; do
  case $word in
    --emit=metadata=*,link=*)
      STORM_LIB=${word##*,link=}
      STORM_META=${word#--emit=metadata=}
      STORM_META=${STORM_META%%,link=*}
      announces=yes
      exec >&2
      ;;
  esac
done
read -r source <"$STORM_SOURCE"

if does stubborn; then trap '' TERM INT HUP; fi
echo "$STORM_JOB begins"
if does tree; then
  sh -c 'sh -c "sh -c \"trap : TERM; sleep 1000; sleep 1000\" & sleep 1000; :" & sleep 1000; :' &
fi
if does holder; then sleep 1000 & fi
if does session; then STORM_ESCAPED=1 setsid sleep 1000 & fi
if does orphan; then
  (STORM_ESCAPED=1 setsid sh -c 'trap "" TERM HUP; sleep 1000 & while :; do sleep 1000; done' &)
fi
if does closed; then STORM_ESCAPED=1 "$STORM_PYTHON" -I -S "$STORM_ESCAPEE" & fi
if does big; then
  head -c 300000 /dev/zero | tr '\0' x
  echo
fi

case $STORM_END in
  fail-first) exit "$STORM_CODE" ;;
  endless-first)
    printf half >"$STORM_LIB"
    for_ever
    ;;
esac

metadata >"$STORM_META.tmp" && mv "$STORM_META.tmp" "$STORM_META"
if [ $announces = yes ]; then
  # shellcheck disable=SC2016 # the dollar is rustc's
  printf '{"$message_type":"artifact","artifact":"%s","emit":"metadata"}\n' "$STORM_META"
fi
sleep "$STORM_PAUSE"
echo "$STORM_JOB goes on"
if [ "$STORM_END" = fail-late ]; then exit "$STORM_CODE"; fi

{
  size=$((8 + ${#STORM_JOB} + 1 + ${#source}))
  printf '!<arch>\n%-16s%-12s%-6s%-6s%-8s%-10s`\n' lib.rmeta/ 0 0 0 644 $size
  metadata
  case $STORM_END in
    ok) sleep "$STORM_PAUSE" ;;
    endless-late) for_ever ;;
    *)
      kill -s "$STORM_END" $$
      for_ever
      ;;
  esac
  printf ' code %s %s' "$STORM_JOB" "$source"
} >"$STORM_LIB"
