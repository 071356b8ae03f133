#!/bin/sh
# What KAPAO and XPOSE call python data/scripts/download_models.py.
exec python "$(dirname "$0")/download_models.py" "$@"
