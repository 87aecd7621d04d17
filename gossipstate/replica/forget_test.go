package replica

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestAStoredCopyOfAnOwnerLongSilentIsNotTakenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		dir := t.TempDir()
		st := openStore(t, dir)
		n, other := c.start(withStore(st)), c.start()
		c.connect(other, n)
		n.set(t, "color", "teal")
		other.set(t, "shape", "round")
		within(t, 5*time.Second, "both agree", func() bool { return c.equal(n, other) })
		other.crash()
		n.kill()
		require.NoError(t, st.Close())
		time.Sleep(25 * time.Hour) // longer than an owner is remembered

		alone := c.start(withKey(n.key), withStore(openStore(t, dir)), withFirstSync(0))
		require.Equal(t, "teal", alone.get(t, "color"), "its own state does not age")
		require.Empty(t, alone.get(t, "shape"))
		require.Empty(t, alone.status(t, other))
	})
}

func TestAReplicaThatRemembersLongerDoesNotTeachAForgottenOwner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		n := c.start(withConfig(func(c *Config) { c.Liveness.ForgetAfter = 100 * time.Hour }))
		other := c.start()
		c.connect(other, n)
		other.set(t, "shape", "round")
		within(t, 5*time.Second, "n has it", func() bool { return n.get(t, "shape") == "round" })
		other.crash()
		time.Sleep(25 * time.Hour)

		newcomer := c.start()
		c.connect(newcomer, n)
		n.set(t, "color", "teal")
		within(t, 5*time.Second, "the newcomer has what n says", func() bool { return newcomer.get(t, "color") == "teal" })
		time.Sleep(time.Minute)
		require.Equal(t, "round", n.get(t, "shape"))
		require.Empty(t, newcomer.get(t, "shape"))
		require.Empty(t, newcomer.status(t, other))
		require.NotZero(t, newcomer.count(CountDropped, "forgotten"))
	})
}
