# SPDX-License-Identifier: LGPL-2.1-or-later
#
# What the shell examples share; they read it with `.`, after `set -u`.

# usage [STATUS]: the comment at the example's top, and the end
usage ()
{
  sed -n '2,/^[^#]/{/^# SPDX/d; s/^#$//; s/^# //p}' "$0"
  exit "${1:-0}"
}

fail ()
{
  echo "$(basename "$0"): $*" >&2
  exit 1
}

# files FILE...: each must be there
files ()
{
  for file; do
    [ -f "$file" ] || fail "There is no file $file."
  done
}

# elements ELEMENT...: each must be there
elements ()
{
  command -v gst-launch-1.0 >/dev/null ||
    fail 'gst-launch-1.0 is missing: install gstreamer1.0-tools.'
  # without a version, gst-inspect-1.0 wants GStreamer's own
  for element in cascadepsprefine "$@"; do
    gst-inspect-1.0 --exists --atleast-version=0.0 "$element" ||
      fail "GStreamer has no element $element (docs/troubleshooting.md)."
  done
}

# launch PIPELINE...: runs it to its end. If it fails, the first error is the
# one that tells why.
launch ()
{
  log=$(mktemp) || exit 1
  trap 'rm -f "$log"' EXIT
  trap 'exit 130' INT TERM
  gst-launch-1.0 -q -e "$@" >"$log" 2>&1 && return
  why=$(sed -n 's/^ERROR: from element [^ ]*: //p' "$log" | head -n 1)
  fail "${why:-$(tail -n 1 "$log")}"
}
