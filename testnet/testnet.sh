#!/bin/sh
# Runs networks of real p2pnode processes on this machine's loopback: builds p2pnode from this checkout when its sources
# changed, then is `p2pnode testnet`.
#
#   testnet.sh up N [--name NAME]        testnet.sh kill|restart|logs [--name NAME] nX
#   testnet.sh down|status [--name NAME] testnet.sh exec [--name NAME] nX CMD...
set -eu
root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
(cd "$root" && exec go build -o .bin/p2pnode ./cmd/p2pnode)

case "${1-} ${2-}" in
"up "[0-9]*) # up N means up -n N
	n=$2
	shift 2
	set -- up -n "$n" "$@" ;;
"exec "*) # what follows nX is CMD's, whatever it looks like
	shift
	name=default
	if [ "${1-}" = --name ]; then name=${2-}; shift "$(($# < 2 ? $# : 2))"; fi
	node=${1-}
	shift "$(($# < 1 ? $# : 1))"
	if [ "${1-}" = -- ]; then shift; fi
	set -- exec --name "$name" "$node" -- "$@" ;;
esac
exec "$root/.bin/p2pnode" testnet "$@"
