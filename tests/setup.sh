# SPDX-License-Identifier: LGPL-2.1-or-later
#
# What the project needs from Debian and how to get it; for other scripts to
# read with `.`

packages_build='gcc libc6-dev meson pkg-config libdnnl-dev libjson-glib-dev
  libgstreamer1.0-dev libgstreamer-plugins-base1.0-dev'
packages_test='g++ libpng-dev valgrind gstreamer1.0-tools
  gstreamer1.0-plugins-base gstreamer1.0-plugins-good
  gstreamer1.0-plugins-bad gstreamer1.0-libav
  gstreamer1.0-opencv gstreamer1.0-gl ffmpeg python3-numpy
  python3-torch python3-pil python3-opencv libopenblas0-pthread
  python3-gi gir1.2-gstreamer-1.0 gir1.2-gst-plugins-base-1.0
  fonts-dejavu-core'
packages_demo='gstreamer1.0-tools gstreamer1.0-plugins-base
  gstreamer1.0-plugins-good gstreamer1.0-plugins-bad gstreamer1.0-opencv
  gstreamer1.0-libav gstreamer1.0-x opencv-doc fonts-dejavu-core'

# say TEXT: a headline
say ()
{
  printf '\n==> %s\n' "$*"
}

# need PACKAGE...: installs those that are missing
need ()
{
  if ! command -v dpkg-query >/dev/null; then
    say "Not a Debian: taking for granted what these packages hold: $*"
    return
  fi
  missing=
  for package; do
    state=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)
    [ "$state" = installed ] || missing="$missing $package"
  done
  [ -n "$missing" ] || return 0

  say "Installing:$missing"
  sudo=
  if [ "$(id -u)" != 0 ]; then
    sudo=sudo
    if ! command -v sudo >/dev/null; then
      echo "No root and no sudo. As root, please run:" >&2
      echo "  apt-get install --no-install-recommends$missing" >&2
      return 1
    fi
  fi
  log=$(mktemp) || return 1
  {
    $sudo apt-get update -qq &&
      $sudo env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -qq --no-install-recommends $missing
  } >"$log" 2>&1
  status=$?
  [ $status = 0 ] || tail -n 20 "$log" >&2
  rm -f "$log"
  return $status
}

# configure FOLDER [MESON-OPTION...]: a new build folder, or an old one with
# new options. werror does not stay from an earlier call.
configure ()
{
  folder=$1
  shift
  set -- -Dwerror=false "$@"
  if [ -f "$folder/build.ninja" ]; then
    meson setup --reconfigure "$folder" "$@"
  else
    meson setup "$folder" "$@"
  fi
}
