package bootstrap

import (
	"net/netip"
	"slices"

	ma "github.com/multiformats/go-multiaddr"
)

// checkUsable explains why a well-formed multiaddr can't be a bootstrap address. It walks this grammar:
//
//	address   = hop "/p2p/" ID [ "/p2p-circuit/p2p/" ID ]
//	hop       = "/dnsaddr/" NAME [ transport ] | host transport
//	host      = ( "/ip4/" | "/ip6/" | "/dns/" | "/dns4/" | "/dns6/" ) VALUE
//	transport = "/tcp/" PORT | "/udp/" PORT "/quic-v1"
func checkUsable(s string, parts []part) error {
	rest, err := checkHop(s, parts)
	if err != nil {
		return err
	}
	switch {
	case len(rest) == 0:
		return fault(SlugMissingPeerID, s, hintPeerID, "bootstrap %s has no /p2p/ part", s)
	case rest[0].protocol.Code == ma.P_CIRCUIT:
		return fault(SlugUnusableMultiaddr, s, "write /p2p/RELAY-ID/p2p-circuit/p2p/PEER-ID",
			"bootstrap %s does not name the relay before /p2p-circuit", s)
	case rest[0].protocol.Code != ma.P_P2P:
		return fault(SlugUnusableMultiaddr, s, hintTransports, "bootstrap %s: this node can't dial /%s", s, rest[0].protocol.Name)
	}
	if parts[0].protocol.Code == ma.P_DNSADDR && len(rest) > 1 && rest[1].protocol.Code == ma.P_CIRCUIT {
		return fault(SlugUnusableMultiaddr, s, "put the relayed address into the DNS record, or name the relay by /dns",
			"bootstrap %s: libp2p does not look up /dnsaddr for a relay", s)
	}
	return checkAfterID(s, rest[1:])
}

// checkAfterID checks what follows the first /p2p/ part: nothing, or one relay hop.
func checkAfterID(s string, rest []part) error {
	switch {
	case len(rest) == 0:
		return nil
	case rest[0].protocol.Code != ma.P_CIRCUIT:
		return fault(SlugUnusableMultiaddr, s, "end the address after the peer's id",
			"bootstrap %s goes on with /%s after the peer's id", s, rest[0].protocol.Name)
	case len(rest) == 1:
		return fault(SlugMissingPeerID, s, hintPeerID, "bootstrap %s has no /p2p/ part after /p2p-circuit", s)
	case rest[1].protocol.Code != ma.P_P2P || len(rest) > 2:
		return fault(SlugUnusableMultiaddr, s, "write /p2p/RELAY-ID/p2p-circuit/p2p/PEER-ID",
			"bootstrap %s has more than a peer's id after /p2p-circuit", s)
	}
	return nil
}

// checkHop checks host and transport and returns the parts after them.
func checkHop(s string, parts []part) ([]part, error) {
	host := parts[0]
	switch host.protocol.Code {
	case ma.P_IP4, ma.P_IP6:
		if err := checkIP(s, host.value); err != nil {
			return nil, err
		}
	case ma.P_DNS, ma.P_DNS4, ma.P_DNS6:
	case ma.P_DNSADDR:
		if len(parts) == 1 || parts[1].protocol.Code == ma.P_P2P {
			return parts[1:], nil // the transport is in the DNS record
		}
	case ma.P_P2P:
		return nil, fault(SlugUnusableMultiaddr, s, hintForm, "bootstrap %s has no address before /p2p/", s)
	default:
		return nil, fault(SlugUnusableMultiaddr, s, "start with /ip4, /ip6, /dns, /dns4, /dns6 or /dnsaddr",
			"bootstrap %s starts with /%s, not with a host", s, host.protocol.Name)
	}
	return checkTransport(s, host, parts[1:])
}

func checkIP(s, value string) error {
	ip, err := netip.ParseAddr(value)
	if err != nil {
		return nil // other spellings the multiaddr library takes; dialling will tell
	}
	switch {
	case ip.IsUnspecified():
		return fault(SlugUnusableMultiaddr, s, "write the address of the other machine; on this one 127.0.0.1",
			"%s is an address to listen on, it can't be dialled", value)
	case ip.Is6() && ip.IsLinkLocalUnicast():
		return fault(SlugUnusableMultiaddr, s, "use another address of that machine", "%s is link-local, libp2p does not dial those", value)
	case ip.IsMulticast():
		return fault(SlugUnusableMultiaddr, s, "write the address of one machine", "%s is a multicast address, it can't be dialled", value)
	}
	return nil
}

// checkTransport checks the transport of host and returns the parts after it.
func checkTransport(s string, host part, parts []part) ([]part, error) {
	ends := func(i int) bool {
		return i >= len(parts) || slices.Contains([]int{ma.P_P2P, ma.P_CIRCUIT}, parts[i].protocol.Code)
	}
	at := "/" + host.protocol.Name + "/" + host.value
	if ends(0) {
		return nil, fault(SlugUnusableMultiaddr, s, "add /tcp/PORT or /udp/PORT/quic-v1 after "+at, "bootstrap %s has no transport", s)
	}
	code, port := parts[0].protocol.Code, parts[0].value
	switch {
	case code != ma.P_TCP && code != ma.P_UDP:
		return nil, unsupported(s, parts[0])
	case port == "0":
		return nil, fault(SlugUnusableMultiaddr, s, "write the port that the other node listens on", "bootstrap %s: port 0 can't be dialled", s)
	case code == ma.P_TCP && ends(1):
		return parts[1:], nil
	case code == ma.P_TCP:
		return nil, unsupported(s, parts[1])
	case ends(1):
		return nil, fault(SlugUnusableMultiaddr, s, "use /udp/"+port+"/quic-v1", "bootstrap %s: /udp/%s alone is no transport", s, port)
	case parts[1].protocol.Code == ma.P_QUIC:
		return nil, fault(SlugUnusableMultiaddr, s, "use /udp/"+port+"/quic-v1", "/udp/%s/quic is the old QUIC name", port)
	case parts[1].protocol.Code != ma.P_QUIC_V1:
		return nil, unsupported(s, parts[1])
	case !ends(2):
		return nil, unsupported(s, parts[2])
	}
	return parts[2:], nil
}

func unsupported(s string, p part) *AddrError {
	return fault(SlugUnusableMultiaddr, s, hintTransports, "bootstrap %s: this node can't dial /%s", s, p.protocol.Name)
}
