package testnet

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// Report is a testnet as it is now.
type Report struct {
	Name  string
	Nodes []Node        // n1, n2, ...
	Took  time.Duration // by Up, from its start until all agreed; else 0
}

// WriteJSON writes one line of JSON a node.
func (r Report) WriteJSON(w io.Writer) error {
	enc := json.NewEncoder(w)
	for _, n := range r.Nodes {
		if err := enc.Encode(n); err != nil {
			return err
		}
	}
	return nil
}

// WriteText writes the testnet as people read it: a summary, one line a node and, after Up, what to try next.
func (r Report) WriteText(w io.Writer) error {
	if _, err := fmt.Fprintln(w, r.summary()); err != nil {
		return err
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	if r.Took > 0 {
		fmt.Fprintln(t, "NODE\tID\tADDRESS\tAPI\tPID")
	} else {
		fmt.Fprintln(t, "NODE\tID\tSTATE\tPID\tALIVE\tAGREES\tDIGEST")
	}
	for _, n := range r.Nodes {
		if r.Took > 0 {
			fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%d\n", n.Name, shortID(n.ID), n.Address, tilde(n.API), n.PID)
		} else {
			fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", n.Name, shortID(n.ID), n.State,
				unless(n.State == StateKilled, n.PID), r.alive(n), r.agrees(n), shortDigest(n.digest()))
		}
	}
	if err := t.Flush(); err != nil || r.Took == 0 {
		return err
	}
	_, err := io.WriteString(w, r.next())
	return err
}

func (r Report) summary() string {
	up, most := 0, Node{}
	for _, n := range r.Nodes {
		if n.State == StateUp {
			up++
		}
		if n.Agrees > most.Agrees {
			most = n
		}
	}
	digest := shortDigest(most.digest())
	switch {
	case r.Took > 0:
		return fmt.Sprintf("testnet %q: %d nodes in %.1f s, all converged (digest %s)", r.Name, len(r.Nodes), r.Took.Seconds(), digest)
	case up == 0:
		return fmt.Sprintf("testnet %q: none of %d nodes up", r.Name, len(r.Nodes))
	default:
		return fmt.Sprintf("testnet %q: %d of %d nodes up, %d of %d agree (digest %s)", r.Name, up, len(r.Nodes), most.Agrees, up, digest)
	}
}

// next are the commands to try, and the one that ends it all.
func (r Report) next() string {
	prefix, flag := "", ""
	if r.Name != DefaultName {
		prefix, flag = r.Name+"/", " --name "+r.Name
	}
	first, last := prefix+r.Nodes[0].Name, prefix+r.Nodes[len(r.Nodes)-1].Name
	lines := []string{
		"try   p2pnode --node " + first + " state set hello world",
		"      p2pnode --node " + last + " state get hello",
	}
	if len(r.Nodes) > 2 {
		lines = append(lines, fmt.Sprintf("      p2pnode testnet kill%s n3 && p2pnode --node %s members --watch", flag, first))
	}
	return strings.Join(append(lines, "stop  p2pnode testnet down"+flag), "\n") + "\n"
}

func (r Report) alive(n Node) string {
	return unless(n.State != StateUp, fmt.Sprintf("%d/%d", n.MembersAlive, len(r.Nodes)))
}

func (r Report) agrees(n Node) string { return unless(n.State != StateUp, n.Agrees) }

// digest is one fingerprint for the fingerprints of all topics: equal where nodes agree. "" unless the node is up.
func (n Node) digest() string {
	if len(n.Fingerprints) == 0 {
		return ""
	}
	h := sha256.New()
	for _, topic := range slices.Sorted(maps.Keys(n.Fingerprints)) {
		fmt.Fprintf(h, "%s %s\n", topic, n.Fingerprints[topic])
	}
	return hex.EncodeToString(h.Sum(nil))
}

func unless(absent bool, v any) string {
	if absent {
		return "-"
	}
	return fmt.Sprint(v)
}

func shortID(id string) string {
	if len(id) < 12 {
		return unless(id == "", id)
	}
	return id[:4] + "…" + id[len(id)-4:]
}

func shortDigest(d string) string {
	if len(d) < 12 {
		return unless(d == "", d)
	}
	return d[:4] + "…" + d[len(d)-4:]
}

// tilde writes the user's home directory as ~.
func tilde(path string) string {
	home, err := os.UserHomeDir()
	if rest, ok := strings.CutPrefix(path, home+"/"); err == nil && ok {
		return "~/" + rest
	}
	return path
}
