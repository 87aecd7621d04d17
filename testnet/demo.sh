#!/bin/sh
# The main job, for real: a testnet of five nodes, a key set on one and read on another, and the nonce of Bitcoin's first
# block found by all of them together. Leaves no process behind.
set -eu
testnet=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)/testnet.sh
header=0100000000000000000000000000000000000000000000000000000000000000000000003ba3edfd7a7b12b27ac72c3e67768f617fc81bc3888a51323a9fb8aa4b1e5e4a29ab5f49ffff001d

on() { # runs p2pnode against one node, and shows the command
	node=$1
	shift
	echo "\$ p2pnode --node demo/$node $*" >&2
	"$testnet" exec --name demo "$node" p2pnode "$@"
}

die() {
	echo "demo: $*" >&2
	exit 1
}

"$testnet" up 5 --name demo
trap '"$testnet" down --name demo' EXIT

on n1 state set hello world --wait all
value=$(on n5 state get hello)
echo "$value"
[ "$value" = world ] || die "n5 should hold world"

result=$(on n1 work submit --algo sha256d --payload "$header" --range 2080000000:2090000000 --wait --json | tail -n 1)
echo "$result"
case $result in
*'"nonce":"2083236893"'*000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f*) ;;
*) die "that is not the nonce 2083236893" ;;
esac

trap - EXIT
"$testnet" down --name demo
# The bracket keeps grep from finding itself.
left=$(grep -als 'testnet-dem[o]' /proc/[0-9]*/cmdline || true)
[ -z "$left" ] || die "processes left behind: $left"
