package discovery

import (
	"net/netip"

	ma "github.com/multiformats/go-multiaddr"
)

// Bits of an address that count as its group: those that one operator gets whole and pays for. Source: Bitcoin Core's
// network groups, after Heilman et al., "Eclipse Attacks on Bitcoin's Peer-to-Peer Network", 2015.
const (
	groupBits4 = 16
	groupBits6 = 32
)

// groupOf is the part of the network where addrs lead: the IP prefix of the first one, or its name; of a relayed address,
// those of the relay. Identities are free and prefixes are not, so wherever peers compete for room a group has a share.
// All addresses without either are one group, "".
func groupOf(addrs ...ma.Multiaddr) string {
	if len(addrs) == 0 {
		return ""
	}
	group := ""
	ma.ForEach(addrs[0], func(c ma.Component) bool {
		switch c.Protocol().Code {
		case ma.P_IP4, ma.P_IP6:
			if ip, ok := netip.AddrFromSlice(c.RawValue()); ok {
				group = groupOfIP(ip.Unmap())
			}
			return false
		case ma.P_DNS, ma.P_DNS4, ma.P_DNS6, ma.P_DNSADDR:
			group = c.Value()
			return false
		}
		return true
	})
	return group
}

func groupOfIP(ip netip.Addr) string {
	bits := groupBits6
	if ip.Is4() {
		bits = groupBits4
	}
	prefix, err := ip.WithZone("").Prefix(bits)
	if err != nil {
		panic("discovery: " + err.Error()) // bits fit every address
	}
	return prefix.String()
}
