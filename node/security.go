package node

import (
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/p2p/security/noise"
	libp2ptls "github.com/libp2p/go-libp2p/p2p/security/tls"
	quic "github.com/libp2p/go-libp2p/p2p/transport/quic"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"
)

// transports are TCP and QUIC so that wall clocks keep nobody apart. By default a host's certificate is valid from an hour before
// its start, so a peer whose clock is further behind refuses it. But it proves a key, and no time: over QUIC it is valid always,
// and over TCP hosts try Noise first, which has none.
func transports() (libp2p.Option, error) {
	certificate, err := timeless()
	if err != nil {
		return nil, err
	}
	return libp2p.ChainOptions(
		libp2p.Transport(tcp.NewTCPTransport),
		libp2p.Transport(quic.NewTransport, quic.WithTLSIdentityOption(libp2ptls.WithCertTemplate(certificate))),
		libp2p.Security(noise.ID, noise.New),
		libp2p.Security(libp2ptls.ID, libp2ptls.New),
	), nil
}

// timeless is the template of a libp2p certificate that is valid at any time: from 1970 to the end of time as RFC 5280 has it.
func timeless() (*x509.Certificate, error) {
	var serials [2]*big.Int
	for i := range serials {
		var err error
		if serials[i], err = rand.Int(rand.Reader, big.NewInt(1<<62)); err != nil {
			return nil, fmt.Errorf("certificate: %w", err)
		}
	}
	return &x509.Certificate{
		SerialNumber: serials[0],
		Subject:      pkix.Name{SerialNumber: serials[1].String()}, // an issuer must be named: RFC 5280, 4.1.2.4
		NotBefore:    time.Unix(0, 0),
		NotAfter:     time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC),
	}, nil
}
