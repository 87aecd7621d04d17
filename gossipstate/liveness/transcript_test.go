package liveness

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

// TestTranscripts plays the files testdata/*.txt. In them, a line at the left margin is an input and the indented lines
// below it are all that came out, so a file reads as a story. Empty lines and comments (#) are for the reader.
// The expected output is written by hand: nothing here rewrites a file.
//
//	trusting                         Config.Trusting, before everything else
//	digest a g1 v2 [leaving]         the digest of a; a larger generation or "anchor" brings a new chain
//	up a | down a lost|refused|unanswered|released
//	beat a 5 [by r]                  beat 5 of a, from a itself or relayed by r
//	run 2.1s [a b ...]               time passes with a Tick each 100 ms; a, b ... beat each 700 ms
//	sleep 10s                        this node is stopped
//	relay to b                       what is relayed to b
//	urgent b                         whether b should get something at once
//	members | forgettable | forget a | story a
//	accuses b a@5 c@3! ...           the list of b: a silent since beat 5, c since beat 3 and refused; empty without any
//	answer a by b reached|unreachable|refused   to a probe; by m: of its own dial
//
// Beside transitions "ask b c about a, dial it" is a probe, "accuse a@5" the list that this node publishes, "sign" that it has to
// sign a digest.
func TestTranscripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			want, err := os.ReadFile(file)
			require.NoError(t, err)
			require.Equal(t, string(want), play(t, string(want)))
		})
	}
}

// player is the state of one transcript.
type player struct {
	*world
	actors map[byte]*actor
	out    strings.Builder
}

// play repeats the inputs of a transcript, with the output that they really have.
func play(t *testing.T, text string) string {
	p := &player{world: newWorld(t), actors: map[byte]*actor{}}
	p.actors['m'], p.deaf = p.self, true
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "  ") {
			continue
		}
		p.out.WriteString(line)
		line, _, _ = strings.Cut(line, "#")
		words := strings.Fields(line)
		switch {
		case len(words) == 0:
		case words[0] == "trusting":
			p.world = newWorld(t, trusting)
			p.actors['m'], p.deaf = p.self, true
		default:
			p.input(words)
			p.tell()
		}
	}
	return p.out.String()
}

func (p *player) printf(format string, args ...any) { fmt.Fprintf(&p.out, "  "+format+"\n", args...) }

// tell prints the transitions since the last call.
func (p *player) tell() {
	for _, s := range p.seen {
		from := s.From.String()
		if from == "" {
			from = "-"
		}
		p.printf("%.1fs %c %s -> %s, phi %.1f: %s%s", s.At.Sub(epoch).Seconds(), s.Owner[0], from, s.To, s.Phi, s.Reason, p.detail(s))
	}
	p.seen = nil
	for _, probe := range p.table.Probes() {
		dial := ""
		if probe.Dial {
			dial = ", dial it"
		}
		p.printf("ask%s about %c%s", names(probe.Via), probe.Owner[0], dial)
	}
	if p.table.MustSign(p.now) {
		p.printf("sign")
	}
	if list, changed := p.table.Suspects(); changed {
		out := "accuse"
		for _, a := range list {
			out += fmt.Sprintf(" %c@%d", a.Owner[0], a.Last.Index)
			if a.Refused {
				out += "!"
			}
		}
		p.printf("%s", out)
		p.table.Accuses(id('m'), list, p.now)
	}
}

// detail is what a transition tells beside its reason.
func (p *player) detail(s Transition) (out string) {
	if len(s.Accusers) > 0 {
		out += fmt.Sprintf("; by%s within %s", names(s.Accusers), seconds(s.Timeout))
	}
	if s.Refuter != (wire.ID{}) {
		out += "; from " + string(s.Refuter[:1])
	}
	return out
}

func names(ids []wire.ID) (out string) {
	for _, id := range ids {
		out += " " + string(id[:1])
	}
	return out
}

// accuses gives the table the list of by, as "a@5!" and so on.
func (p *player) accuses(by wire.ID, words []string) {
	list := []Accusation{}
	for _, word := range words {
		word, refused := strings.CutSuffix(word, "!")
		name, index, _ := strings.Cut(word, "@")
		a := p.actors[name[0]]
		acc := Accusation{Owner: a.id(), Last: Proof{a.digest.Generation, a.digest.Version, uint32(p.number(index))}, Refused: refused}
		if acc.Last.Index > 0 {
			acc.Preimage = a.chain.Beat(acc.Last.Index).Preimage
		}
		list = append(list, acc)
	}
	p.seen = append(p.seen, p.table.Accuses(by, list, p.now)...)
}

func (p *player) input(words []string) {
	arg := func(i int) string {
		if i < len(words) {
			return words[i]
		}
		return ""
	}
	owner := id((arg(1) + " ")[0])
	switch words[0] {
	case "digest":
		p.inputDigest(words[1][0], words[2:])
	case "up":
		p.table.NeighbourUp(owner, p.now)
	case "down":
		p.down(owner, map[string]Loss{"lost": ConnectionLost, "refused": RedialRefused, "unanswered": RedialUnanswered,
			"released": Released}[words[2]])
	case "beat":
		a := p.actors[words[1][0]]
		a.next = uint32(p.number(words[2])) + 1
		from := owner
		if arg(3) == "by" {
			from = id(words[4][0])
		}
		p.printf("%s", p.beat(from, a.chain.Beat(a.next-1)))
	case "run":
		var beating []*actor
		for _, name := range words[2:] {
			beating = append(beating, p.actors[name[0]])
		}
		p.run(p.duration(words[1]), beating...)
	case "sleep":
		p.now = p.now.Add(p.duration(words[1]))
	case "urgent":
		p.printf("%v", p.table.Urgent(owner))
	case "relay":
		for _, b := range p.table.RelayTo(id(words[2][0]), p.now) {
			p.printf("beat %d of %s", b.Index, p.nameOf(b))
		}
	case "members":
		for _, m := range p.table.Members(p.now) {
			p.printf("%c %-7s phi %.1f  gen %d  version %d  beat %d  heard %s  since %s", m.Owner[0], m.Status, m.Phi, m.Generation,
				m.Version, m.BeatIndex, seconds(m.Heard.Sub(epoch)), seconds(m.Since.Sub(epoch)))
		}
	case "story":
		for _, s := range p.table.Story(owner) {
			p.printf("%s %s -> %s: %s%s", seconds(s.At.Sub(epoch)), s.From, s.To, s.Reason, p.detail(s))
		}
	case "accuses":
		p.accuses(owner, words[2:])
	case "answer":
		p.seen = append(p.seen, p.table.Probed(owner, id(words[3][0]), map[string]Answer{"reached": Reached, "unreachable": Unreachable,
			"refused": PortRefused}[words[4]], p.now)...)
	case "forgettable":
		for _, owner := range p.table.ForgetCandidates(p.now) {
			p.printf("%c", owner[0])
		}
	case "forget":
		p.printf("%v", p.table.Forget(owner))
	default:
		require.Fail(p.t, "no such input", words[0])
	}
}

func (p *player) inputDigest(name byte, words []string) {
	a := p.actors[name]
	generation := wire.Generation(p.number(words[0][1:]))
	version := wire.Version(p.number(words[1][1:]))
	last := words[len(words)-1]
	if a == nil || a.digest.Generation < generation {
		a = newActor(name, generation)
		p.actors[name] = a
	}
	sent := *a
	if last == "anchor" {
		a.anchor(300)
		sent = *a
	}
	if last == "leaving" {
		sent.digest.Status = wire.Leaving
	}
	sent.digest.Generation, sent.digest.Version = generation, version
	a.digest.Version = version
	p.digest(&sent)
}

func (p *player) nameOf(b wire.Beat) string {
	for name, a := range p.actors {
		if a.chain.Anchor().Name() == b.Anchor {
			return string(name)
		}
	}
	return "nobody"
}

func (p *player) number(word string) int {
	n, err := strconv.Atoi(word)
	require.NoError(p.t, err)
	return n
}

func (p *player) duration(word string) time.Duration {
	d, err := time.ParseDuration(word)
	require.NoError(p.t, err)
	return d
}
