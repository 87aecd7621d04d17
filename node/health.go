package node

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/p2pnode/p2pnode/bootstrap"
	"github.com/p2pnode/p2pnode/gossipstate/replica"
)

// Statuses of a Check.
const (
	CheckOK   = "ok"
	CheckWarn = "warn" // somebody should look at it; the node does all it should
	CheckFail = "fail"
)

// Check is one thing about this node that was looked at.
type Check struct {
	Name    string // one word
	Status  string // CheckOK, CheckWarn or CheckFail
	Detail  string // what was found, for people
	Lines   []string
	Hint    string // what to do about a warn or fail; may be empty
	Measure *Measure
}

// Measure is the number that decided a Check: below Warn it warned, below Fail it failed.
type Measure struct {
	Name              string // of a metric, without its prefix
	Value, Warn, Fail int
}

const (
	// minFree is the room on the disk below which people are warned: the state file grows by at most 16 MiB at a time (guess).
	minFree = 256 << 20
	// healthTimeout bounds what a check waits for the replica, which answers within milliseconds.
	healthTimeout = 5 * time.Second
)

// Readiness looks at what must hold before this node is of use to others: it has published itself, its store takes writes,
// it may sign with its identity, and it has synced with a peer once in this process, unless it was given no bootstrap peer
// but itself and so is the first. That all peers are gone later changes nothing. A Check that fails says that it is not ready.
func (n *Node) Readiness(ctx context.Context) []Check {
	ctx, cancel := context.WithTimeout(ctx, healthTimeout)
	defer cancel()
	started := n.startedCheck()
	if started.Status != CheckOK {
		return []Check{started, n.diskCheck(nil)}
	}
	l, err := n.lookAt(ctx)
	if err != nil {
		return []Check{stoppedCheck(err)}
	}
	return []Check{started, identityCheck(l.identity), n.diskCheck(l.storage.Fault), syncCheck(l.synced, n.bootstrap.State(), len(n.remembered))}
}

// Health looks at all that an operator may have to act on, whether the node is ready among it.
func (n *Node) Health(ctx context.Context) []Check {
	ctx, cancel := context.WithTimeout(ctx, healthTimeout)
	defer cancel()
	b := n.bootstrap.State()
	boot := bootstrapCheck(b, time.Now())
	if started := n.startedCheck(); started.Status != CheckOK {
		return []Check{started, keyCheck(n.cfg.IdentityPath(), n.info.ID), n.diskCheck(nil), boot}
	}
	l, err := n.lookAt(ctx)
	if err != nil {
		return []Check{stoppedCheck(err)}
	}
	identity, storage := identityCheck(l.identity), n.diskCheck(l.storage.Fault)
	if identity.Status == CheckOK {
		identity = keyCheck(n.cfg.IdentityPath(), n.info.ID)
	}
	if storage.Status == CheckOK && n.damaged != nil {
		storage.Status, storage.Detail, storage.Hint = CheckWarn, n.damaged.Error(), "p2pnode errors "+CodeStoreCorrupt
	}
	return []Check{
		identity, storage, syncCheck(l.synced, b, len(n.remembered)), clockCheck(l.members, n.cfg.Membership.MaxClockSkew),
		membershipCheck(count(l.members)), boot,
	}
}

// look is what the replica says for the checks.
type look struct {
	identity replica.Identity
	storage  replica.Storage
	synced   bool
	members  []replica.Member
}

func (n *Node) lookAt(ctx context.Context) (l look, err error) {
	if l.identity, err = n.replica.Identity(ctx); err != nil {
		return look{}, err
	}
	if l.storage, err = n.replica.Storage(ctx); err != nil {
		return look{}, err
	}
	if l.synced, err = n.replica.Synced(ctx); err != nil {
		return look{}, err
	}
	l.members, err = n.replica.Members(ctx)
	return l, err
}

func (n *Node) startedCheck() Check {
	select {
	case <-n.ready:
		return Check{Name: "started", Status: CheckOK, Detail: "for " + roughly(time.Since(n.info.Started))}
	default:
	}
	c := Check{Name: "started", Status: CheckFail, Detail: "the node is starting"}
	if b := n.bootstrap.State(); b.Wanted+len(n.remembered) > 0 {
		c.Detail = fmt.Sprintf("the node is starting: it waits up to %s for a first sync; %s", firstSync, sources(b, len(n.remembered)))
	}
	return c
}

// stoppedCheck is what is left to say when the replica does not answer.
func stoppedCheck(err error) Check {
	return Check{Name: "started", Status: CheckFail, Detail: fmt.Sprintf("the node does not answer: %v", err)}
}

func identityCheck(i replica.Identity) Check {
	c := Check{Name: "identity", Status: CheckOK, Detail: "no other node was seen to use it"}
	for _, p := range identityProblems(i) {
		if p.Code == CodeIdentityConflict {
			c.Status, c.Detail, c.Hint = CheckWarn, p.Detail, p.Hint
		}
	}
	if i.Stopped {
		c.Status = CheckFail
	}
	return c
}

// keyCheck reads the identity as the next start of this node will.
func keyCheck(file string, self peer.ID) Check {
	c := Check{Name: "identity", Status: CheckFail}
	key, err := LoadIdentity(file)
	var fault *Error
	switch {
	case errors.Is(err, fs.ErrNotExist):
		c.Detail, c.Hint = file+" is gone: the next start would make a new identity", "restore it from a backup"
		return c
	case errors.As(err, &fault):
		c.Detail, c.Hint = fault.Detail, fault.Hint
		return c
	case err != nil:
		c.Detail = err.Error()
		return c
	}
	if id, err := peer.IDFromPrivateKey(key); err != nil || id != self {
		c.Detail, c.Hint = file+" holds another key than the one this node runs with", "restore it from a backup"
		return c
	}
	c.Status, c.Detail = CheckOK, "key readable"
	if info, err := os.Stat(file); err == nil {
		c.Detail += fmt.Sprintf(", mode %04o", info.Mode().Perm())
	}
	return c
}

// diskCheck looks at the room that is left. fault is why the newest write of this node's own state failed, nil when it did not.
func (n *Node) diskCheck(fault error) Check {
	free, total, err := diskSpace(n.cfg.DataDir)
	c := Check{Name: "storage", Status: CheckOK, Detail: fmt.Sprintf("%s free of %s", binary(free), binary(total))}
	switch {
	case errors.Is(fault, syscall.ENOSPC) || err == nil && free == 0:
		c.Status = CheckFail
		c.Detail = fmt.Sprintf("no space left in %s; the node goes on, but refuses writes", n.cfg.DataDir)
		c.Hint = "free some space; a node that refused a write looks again within a minute"
	case fault != nil:
		c.Status, c.Detail, c.Hint = CheckFail, fmt.Sprintf("this node's own state cannot be stored: %v", fault), "see the node's log"
	case errors.Is(err, errors.ErrUnsupported):
		c.Detail = "the newest write is on disk"
	case err != nil:
		c.Status, c.Detail = CheckFail, err.Error()
	case free < minFree:
		c.Status, c.Detail, c.Hint = CheckWarn, c.Detail+" (less than "+binary(minFree)+")", "free some space"
	}
	return c
}

func syncCheck(synced bool, b bootstrap.State, remembered int) Check {
	c := Check{Name: "sync", Status: CheckOK}
	switch {
	case synced:
		c.Detail = "has synced with a peer"
	case b.Wanted == 0:
		c.Detail = "no bootstrap peers: the first of its network"
		if remembered > 0 {
			c.Detail = "no sync with a peer yet; " + sources(b, remembered)
		}
	default:
		c.Status, c.Detail, c.Hint = CheckFail, "no sync with a peer yet; "+sources(b, remembered), "p2pnode health"
		c.Lines = failures(b)
	}
	return c
}

func clockCheck(members []replica.Member, limit time.Duration) Check {
	c := Check{Name: "clock", Status: CheckOK, Detail: "no neighbour's clock to compare with"}
	own := clockOffset(members)
	if own == nil {
		return c
	}
	c.Detail = fmt.Sprintf("%s against members' median (limit %s)", signed(*own), roughly(limit))
	if own.Abs() >= limit {
		c.Status, c.Hint = CheckWarn, "turn on NTP on the machine that is wrong: timedatectl set-ntp true"
	}
	return c
}

// membershipCheck warns when fewer than three in four of the members that have not left are alive, and fails when fewer than
// three in five are (guesses): rather than that all of them died, this node is cut off.
func membershipCheck(m MemberCount) Check {
	all := m.Alive + m.Suspect + m.Dead
	c := Check{
		Name: "membership", Status: CheckOK, Detail: fmt.Sprintf("%d of %d alive", m.Alive, all),
		Measure: &Measure{Name: "members_alive", Value: m.Alive, Warn: (3*all + 3) / 4, Fail: (3*all + 4) / 5},
	}
	switch {
	case m.Alive < c.Measure.Fail:
		c.Status = CheckFail
	case m.Alive < c.Measure.Warn:
		c.Status = CheckWarn
	}
	if c.Status != CheckOK {
		c.Detail += fmt.Sprintf(", %d suspect, %d dead", m.Suspect, m.Dead)
		c.Hint = "p2pnode members"
	}
	return c
}

// bootstrapCheck fails once an attempt at the bootstrap peers was in vain and none is connected, unless one is only not needed.
func bootstrapCheck(b bootstrap.State, now time.Time) Check {
	c := Check{Name: "bootstrap", Status: CheckOK, Detail: connected(b)}
	if b.Wanted == 0 {
		c.Detail = "none is wanted"
		return c
	}
	c.Lines = failures(b)
	if b.Connected > 0 {
		return c
	}
	if b.Spared > 0 {
		c.Detail += "; there are enough other neighbours"
		return c
	}
	c.Status, c.Hint = CheckFail, "p2pnode errors "+CodeBootstrapUnreachable
	c.Detail += " for " + roughly(now.Sub(b.Alone))
	if len(b.Failures) == 0 {
		c.Status, c.Detail = CheckWarn, c.Detail+"; they are being dialled"
	}
	return c
}

// sources are whom a node that starts may sync with first: bootstrap peers, and those of an earlier run.
func sources(b bootstrap.State, remembered int) string {
	switch {
	case remembered == 0:
		return connected(b)
	case b.Wanted == 0:
		return fmt.Sprintf("%d peers of an earlier run are dialled", remembered)
	}
	return fmt.Sprintf("%s; %d peers of an earlier run are dialled", connected(b), remembered)
}

func connected(b bootstrap.State) string {
	return fmt.Sprintf("%d of %d bootstrap peers connected", b.Connected, b.Wanted)
}

// failures are a line for each address of a bootstrap peer that is not connected, without its id.
func failures(b bootstrap.State) []string {
	var lines []string
	for _, addr := range slices.Sorted(maps.Keys(b.Failures)) {
		short, _, _ := strings.Cut(addr, "/p2p/12D3")
		lines = append(lines, short+": "+b.Failures[addr])
	}
	return lines
}

// roughly is a duration in its largest unit, for people: 3m, 12s, 140ms.
func roughly(d time.Duration) string {
	switch {
	case d >= 48*time.Hour:
		return fmt.Sprintf("%dd", d/(24*time.Hour))
	case d >= 2*time.Hour:
		return fmt.Sprintf("%dh", d/time.Hour)
	case d >= 2*time.Minute:
		return fmt.Sprintf("%dm", d/time.Minute)
	case d >= time.Second:
		return fmt.Sprintf("%d s", d/time.Second)
	default:
		return fmt.Sprintf("%d ms", max(0, d/time.Millisecond))
	}
}

// signed is a difference of clocks.
func signed(d time.Duration) string {
	if d.Abs() < time.Second {
		return fmt.Sprintf("%+d ms", d.Milliseconds())
	}
	return fmt.Sprintf("%+.1f s", d.Seconds())
}

// binary is a number of bytes in IEC units.
func binary(n uint64) string {
	f, units := float64(n), []string{"B", "KiB", "MiB", "GiB", "TiB", "PiB"}
	for len(units) > 1 && f >= 1023.95 {
		f, units = f/1024, units[1:]
	}
	return strings.Replace(fmt.Sprintf("%.1f %s", f, units[0]), ".0 ", " ", 1)
}
