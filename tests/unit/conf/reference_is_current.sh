#!/bin/sh
# docs/configuration.md has to be what the table of keys says.
# Usage: reference_is_current.sh CONF_REFERENCE DOCS_FILE
if ! "$1" | diff -u "$2" -; then
	echo "Make it anew: $1 > docs/configuration.md" >&2
	exit 1
fi
