package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/p2pnode/p2pnode/gossipstate/replica"
	"github.com/p2pnode/p2pnode/gossipstate/wire"
	"github.com/p2pnode/p2pnode/node"
	"github.com/p2pnode/p2pnode/node/api"
)

func (a *app) stateVerifyCommand() *cobra.Command {
	var want origin
	c := &cobra.Command{
		Use:   "verify FILE|-",
		Short: "Check a proof or an export, without a node",
		Long: `Check what 'p2pnode state get KEY --proof' or 'p2pnode state export' wrote, from a file or, with -, from standard input. It
asks no node.

A proof shows that its owner signed this entry for one network and topic. It does not show what the owner signed later: the
key may have another value by now, or be deleted. Whoever made the proof chose its owner, network and topic: --owner,
--network and --topic tell which ones you mean.

Of an export every line is checked by itself: that its owner signed exactly this state for the network. Each line that does
not hold is told with its number, and so is a missing end. --network tells which network you mean.

Exit code 5 when the proof or a line of the export does not hold or is not what you mean, 2 when the file is neither.`,
		Args: exactArgs("FILE"),
		RunE: func(c *cobra.Command, args []string) error {
			if err := want.check(c.Flags()); err != nil {
				return err
			}
			in, name, err := a.open(args[0])
			if err != nil {
				return err
			}
			defer in.Close()
			text := bufio.NewReader(in)
			if api.IsExport(text) {
				if want.owner != "" || want.topic != "" {
					return usageError("%s is an export: --owner and --topic are for a proof", plain(name))
				}
				return a.verifyExport(text, name, want.network)
			}
			p, err := readProof(text, name)
			if err != nil {
				return err
			}
			v, err := p.Verify()
			if err != nil {
				return node.NewError(node.CodeNotVerified, err, "the proof does not hold: "+err.Error(), "")
			}
			if err := want.compare(v); err != nil {
				return err
			}
			return a.showVerified(v)
		},
	}
	f := c.Flags()
	f.StringVar(&want.owner, "owner", "", "the owner that must have signed it: a whole peer id")
	f.StringVar(&want.network, "network", "", "the network that it must be signed for")
	f.StringVar(&want.topic, "topic", "", "the state topic that it must be signed for")
	return c
}

// origin is what a proof is required to be of; "" is anything.
type origin struct{ owner, network, topic string }

// check refuses a requirement that no proof could meet. That an empty one is given is most likely an empty variable.
func (o *origin) check(f *pflag.FlagSet) error {
	if f.Changed("owner") {
		id, err := peer.Decode(o.owner)
		if err == nil {
			_, err = replica.OwnerOf(id)
		}
		if err != nil {
			return usageError("--owner %q: must be a whole peer id, such as 12D3KooW…: no node is asked for names", plain(o.owner))
		}
		o.owner = id.String()
	}
	if f.Changed("network") {
		if err := wire.CheckName("network", o.network); err != nil {
			return usageError("--network: %v", err)
		}
	}
	if f.Changed("topic") {
		if err := wire.CheckName("topic", o.topic); err != nil {
			return usageError("--topic: %v", err)
		}
	}
	return nil
}

// compare says in what v, which holds, is not what was asked for.
func (o *origin) compare(v api.Verified) error {
	var others []string
	for _, c := range []struct{ what, want, have string }{
		{"owner", o.owner, v.Owner}, {"network", o.network, v.Network}, {"topic", o.topic, v.Topic},
	} {
		if c.want != "" && c.want != c.have {
			others = append(others, fmt.Sprintf("of %s %s, not %s", c.what, c.have, c.want))
		}
	}
	if len(others) == 0 {
		return nil
	}
	return node.NewError(node.CodeNotVerified, nil, "the proof holds, but it is "+strings.Join(others, "; "), "")
}

// open opens a file, or standard input for "-", and says how to call it.
func (a *app) open(file string) (in io.ReadCloser, name string, err error) {
	if file == "-" {
		return io.NopCloser(a.in), "standard input", nil
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, "", usageError("%v", err)
	}
	return f, file, nil
}

// readProof reads a proof from in, which people know as name.
func readProof(in io.Reader, name string) (api.Proof, error) {
	text, err := io.ReadAll(io.LimitReader(in, api.MaxProof+1))
	if err != nil {
		return api.Proof{}, usageError("%v", err)
	}
	p, err := api.ParseProof(text)
	if err != nil {
		return api.Proof{}, node.NewError(node.CodeBadProof, err, plain(name)+" is no proof: "+err.Error(),
			"'p2pnode state get KEY --proof' writes one")
	}
	return p, nil
}

func (a *app) showVerified(v api.Verified) error {
	switch {
	case a.json:
		return a.writeJSON(v)
	case a.quiet:
		return nil
	}
	what := plain(v.Key) + " = " + quoted(v.Value, 60)
	if v.Deleted {
		what = plain(v.Key) + " deleted"
	}
	a.printf("%s version %s, signed by %s on network %s, topic %s, at generation %s version %s\n",
		what, v.Version, v.Owner, v.Network, v.Topic, v.Generation, v.StateVersion)
	return nil
}
