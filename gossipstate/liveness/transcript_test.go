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
//	relay 50                         what is relayed within 50 bytes
//	members | forgettable | forget a
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
		p.printf("%.1fs %c %s -> %s, phi %.1f: %s", s.At.Sub(epoch).Seconds(), s.Owner[0], from, s.To, s.Phi, s.Reason)
	}
	p.seen = nil
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
	case "relay":
		for _, b := range p.table.Relay(p.number(words[1]), p.now) {
			p.printf("beat %d of %s", b.Index, p.nameOf(b))
		}
	case "members":
		for _, m := range p.table.Members(p.now) {
			p.printf("%c %-7s phi %.1f  gen %d  version %d  beat %d  heard %s  since %s", m.Owner[0], m.Status, m.Phi, m.Generation,
				m.Version, m.BeatIndex, seconds(m.Heard.Sub(epoch)), seconds(m.Since.Sub(epoch)))
		}
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
