package bootstrap

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
)

// Slugs of AddrError: stable names of the mistakes, one a help page.
const (
	SlugBadMultiaddr      = "bad-multiaddr"      // not a multiaddr at all
	SlugMissingPeerID     = "missing-peer-id"    // does not say whom to expect there
	SlugBadPeerID         = "bad-peer-id"        // the id after /p2p/ is none
	SlugUnusableMultiaddr = "unusable-multiaddr" // well-formed, but nothing can dial it
)

// maxAddrLen is the longest address read, in bytes. A relayed address with two peer ids and a long name has about 400.
const maxAddrLen = 1024

// AddrError says what is wrong with one bootstrap address, in words for the person who typed it.
type AddrError struct {
	Slug   string // one of the Slug constants
	Addr   string // as it was given, without white space around it
	Detail string // one sentence, lower case, no full stop
	Hint   string // what to write instead
}

// Error returns Detail.
func (e *AddrError) Error() string { return e.Detail }

// Parse reads one bootstrap address: a multiaddr that ends in /p2p/ and the id of the peer expected there. White space
// around it is ignored. Usable are /ip4, /ip6, /dns, /dns4 and /dns6 with /tcp/PORT or /udp/PORT/quic-v1, /dnsaddr, and any
// of these through a relay (/p2p/RELAY/p2p-circuit/p2p/PEER). Names are not looked up here.
//
// The AddrInfo has exactly one address, without its last /p2p/ part. Every error is an *AddrError.
func Parse(s string) (peer.AddrInfo, error) {
	s = strings.TrimSpace(s)
	parts, err := split(s)
	if err != nil {
		return peer.AddrInfo{}, err
	}
	if err := checkUsable(s, parts); err != nil {
		return peer.AddrInfo{}, err
	}
	addr, err := ma.NewMultiaddr(s)
	if err != nil {
		return peer.AddrInfo{}, fault(SlugBadMultiaddr, s, hintForm, "bootstrap %s is not a multiaddr: %v", quote(s), err)
	}
	info, err := peer.AddrInfoFromP2pAddr(addr)
	if err != nil || len(info.Addrs) != 1 {
		return peer.AddrInfo{}, fault(SlugBadMultiaddr, s, hintForm, "bootstrap %s is not a multiaddr of a peer", quote(s))
	}
	return *info, nil
}

// ParseAll parses every address and merges those of one peer, in the order of first mention. If any is faulty the error
// joins the *AddrError of each, so that all mistakes are seen at once, and no peer is returned.
func ParseAll(addrs []string) ([]peer.AddrInfo, error) {
	infos := make([]peer.AddrInfo, 0, len(addrs))
	var faults []error
	for _, s := range addrs {
		info, err := Parse(s)
		if err != nil {
			faults = append(faults, err)
			continue
		}
		infos = append(infos, info)
	}
	if len(faults) > 0 {
		return nil, errors.Join(faults...)
	}
	return merge(infos), nil
}

// merge makes one entry of each peer, in order of first mention, and drops repeated addresses.
func merge(infos []peer.AddrInfo) []peer.AddrInfo {
	var merged []peer.AddrInfo
	at := make(map[peer.ID]int, len(infos))
	for _, info := range infos {
		i, known := at[info.ID]
		if !known {
			i = len(merged)
			at[info.ID] = i
			merged = append(merged, peer.AddrInfo{ID: info.ID})
		}
		for _, a := range info.Addrs {
			if !ma.Contains(merged[i].Addrs, a) {
				merged[i].Addrs = append(merged[i].Addrs, a)
			}
		}
	}
	return merged
}

const (
	hintForm = "write /ip4/ADDRESS/tcp/4747/p2p/PEER-ID or /ip4/ADDRESS/udp/4747/quic-v1/p2p/PEER-ID; " +
		"the other node prints its own with 'p2pnode id --addrs'"
	hintTransports = "supported are /tcp/PORT and /udp/PORT/quic-v1"
	hintPeerID     = "add /p2p/ and the peer's id"
	hintWholeID    = "copy the whole id; the other node prints it with 'p2pnode id'"
)

func fault(slug, addr, hint, format string, args ...any) *AddrError {
	return &AddrError{Slug: slug, Addr: addr, Detail: fmt.Sprintf(format, args...), Hint: hint}
}

// quote quotes what may hold anything, cut to a length that fits a line.
func quote(s string) string {
	const most = 200
	if len(s) > most {
		return strconv.Quote(s[:most]) + "..."
	}
	return strconv.Quote(s)
}

// part is one component of a multiaddr: /name or /name/value.
type part struct {
	protocol ma.Protocol
	value    string
}

// split takes a multiaddr apart and checks every name and value by itself, so that an error can name the faulty one.
func split(s string) ([]part, error) {
	switch {
	case s == "":
		return nil, fault(SlugBadMultiaddr, s, hintForm, "bootstrap address is empty")
	case len(s) > maxAddrLen:
		return nil, fault(SlugBadMultiaddr, s, hintForm, "bootstrap %s is %d bytes long, the limit is %d", quote(s), len(s), maxAddrLen)
	case s[0] != '/':
		return nil, notMultiaddr(s)
	}
	fields := strings.Split(strings.TrimRight(s, "/"), "/")[1:]
	var parts []part
	for len(fields) > 0 {
		name := fields[0]
		protocol := ma.ProtocolWithName(name)
		switch {
		case name == "":
			return nil, fault(SlugBadMultiaddr, s, hintForm, "bootstrap %s has nothing between two slashes", quote(s))
		case name == "ipfs":
			return nil, fault(SlugUnusableMultiaddr, s, "write /p2p/ and the same id",
				"bootstrap %s uses /ipfs/, the old name of /p2p/", quote(s))
		case protocol.Code == 0:
			return nil, fault(SlugBadMultiaddr, s, hintForm, "bootstrap %s: %s is not the name of a protocol", quote(s), quote(name))
		case protocol.Path:
			return nil, fault(SlugUnusableMultiaddr, s, hintTransports, "bootstrap %s: this node can't dial /%s", quote(s), name)
		}
		fields = fields[1:]
		var value string
		if protocol.Size != 0 {
			if len(fields) == 0 {
				return nil, missingValue(s, name)
			}
			value, fields = fields[0], fields[1:]
			if err := checkValue(s, name, value); err != nil {
				return nil, err
			}
		}
		parts = append(parts, part{protocol, value})
	}
	if len(parts) == 0 {
		return nil, fault(SlugBadMultiaddr, s, hintForm, "bootstrap %s has no address in it", quote(s))
	}
	return parts, nil
}

// notMultiaddr explains a text that does not start with a slash.
func notMultiaddr(s string) *AddrError {
	if _, err := peer.Decode(s); err == nil {
		return fault(SlugBadMultiaddr, s, "write /ip4/ADDRESS/tcp/4747/p2p/"+s, "bootstrap %s is a peer id without an address", quote(s))
	}
	host, port, err := net.SplitHostPort(s)
	if n, convErr := strconv.ParseUint(port, 10, 16); err != nil || convErr != nil || n == 0 || host == "" {
		return fault(SlugBadMultiaddr, s, hintForm, "bootstrap %s is not a multiaddr: it does not start with a slash", quote(s))
	}
	kind := "dns"
	if ip, err := netip.ParseAddr(host); err == nil {
		kind = "ip4"
		if ip.Is6() {
			kind = "ip6"
		}
	}
	hint := fmt.Sprintf("write /%s/%s/tcp/%s/p2p/PEER-ID; the other node prints its own with 'p2pnode id --addrs'", kind, host, port)
	return fault(SlugBadMultiaddr, s, hint, "bootstrap %s is a host:port, not a multiaddr", quote(s))
}

func missingValue(s, name string) *AddrError {
	if name == "p2p" {
		return fault(SlugMissingPeerID, s, "add the peer's id", "bootstrap %s has nothing after /p2p/", s)
	}
	return fault(SlugBadMultiaddr, s, hintForm, "bootstrap %s ends after /%s, without its value", quote(s), name)
}

// checkValue explains a value that its protocol does not take.
func checkValue(s, name, value string) error {
	if name == "p2p" {
		return checkPeerID(s, value)
	}
	v4 := false // the library takes an IPv4 address after /ip6
	if ip, err := netip.ParseAddr(value); err == nil {
		v4 = ip.Is4()
	}
	if _, err := ma.NewComponent(name, value); err == nil && !(name == "ip6" && v4) {
		return nil
	}
	want := "a value for /" + name
	switch name {
	case "ip4":
		want = "an IPv4 address"
	case "ip6":
		want = "an IPv6 address"
	case "tcp", "udp":
		want = "a port (1 to 65535)"
	case "dns", "dns4", "dns6", "dnsaddr":
		want = "a host name"
	}
	return fault(SlugBadMultiaddr, s, hintForm, "bootstrap %s: %s is not %s", quote(s), quote(value), want)
}

// checkPeerID explains an id that does not decode. The text form has no checksum: a changed letter shows only when the
// bytes are no longer a key.
func checkPeerID(s, value string) error {
	id, err := peer.Decode(value)
	if err == nil {
		_, err = id.ExtractPublicKey()
		if errors.Is(err, peer.ErrNoPublicKey) { // a hashed id: nothing more to check
			err = nil
		}
	}
	if err == nil {
		return nil
	}
	const base58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
	const shortest, ed25519 = 46, 52 // characters: an id that starts with Qm, and one that starts with 12D3Koo
	why := "it does not decode: was a letter changed?"
	strange := strings.IndexFunc(value, func(r rune) bool { return !strings.ContainsRune(base58, r) })
	switch {
	case strange >= 0:
		r := []rune(value[strange:])[0]
		why = fmt.Sprintf("it has %q, which no peer id has", r)
	case len(value) < shortest, strings.HasPrefix(value, "12D3Koo") && len(value) < ed25519:
		why = "too short: was it cut when copied?"
	case len(value) > ed25519:
		why = "too long: was something added when it was copied?"
	}
	return fault(SlugBadPeerID, s, hintWholeID, "%s is not a peer id (%s)", quote(value), why)
}
