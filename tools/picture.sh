#!/usr/bin/env bash
# Pictures of a page that `accordion compare --html` wrote, for documents: OUT-light.png and OUT-dark.png. Needs Chromium.
#   tools/picture.sh runs/demo.html docs/images/demo
set -euo pipefail
[ $# -eq 2 ] || {
  echo "usage: tools/picture.sh PAGE OUT" >&2
  exit 2
}
page=$(realpath "$1")
browser=$(command -v chromium || command -v chromium-browser || command -v google-chrome) || {
  echo "tools/picture.sh: Chromium is missing: apt-get install chromium" >&2
  exit 2
}
mkdir -p "$(dirname "$2")"
scheme=0 # the browser's number of the dark one
for name in dark light; do
  "$browser" --headless=new --no-sandbox --disable-gpu --hide-scrollbars --force-device-scale-factor=1.5 --window-size=1200,1085 \
    --blink-settings=preferredColorScheme=$scheme --screenshot="$2-$name.png" "file://$page" 2>/dev/null
  scheme=1
done
