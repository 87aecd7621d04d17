package main

import (
	"bytes"
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

func example() table {
	seconds := func(v float64) figure {
		return figure{name: "dead, median", value: v, unit: "s", digits: 2, ratio: true}
	}
	count := func(v float64) figure { return figure{name: "not seen", value: v} }
	return table{measure: "crash", what: "kill -9 of one", nodes: 32, rows: []row{
		{contender: "p2pnode quiet", note: "this p2pnode has no setting quiet"},
		{contender: "p2pnode", figures: []figure{seconds(0.5), count(0)}},
		{contender: "memberlist", figures: []figure{seconds(10.5), count(2)}},
		{contender: "serf", figures: []figure{seconds(math.NaN()), count(31)}},
	}}
}

func TestTextHasRatiosToTheReferenceAndNotes(t *testing.T) {
	var b bytes.Buffer
	require.NoError(t, example().writeText(&b))
	require.Equal(t, `crash, 32 nodes: kill -9 of one
            dead, median    not seen
p2pnode     0.50 s          0
memberlist  10.50 s (21 x)  2
serf        -               31
p2pnode quiet: this p2pnode has no setting quiet

`, b.String())
}

func TestJSONHasALineForEachContender(t *testing.T) {
	var b bytes.Buffer
	require.NoError(t, example().writeJSON(&b))
	require.Equal(t, `{"measure":"crash","nodes":32,"contender":"p2pnode quiet","note":"this p2pnode has no setting quiet"}
{"measure":"crash","nodes":32,"contender":"p2pnode","figures":{"dead_median_s":0.5,"not_seen":0}}
{"measure":"crash","nodes":32,"contender":"memberlist","figures":{"dead_median_s":10.5,"not_seen":2},"against_p2pnode":{"dead_median_s":21}}
{"measure":"crash","nodes":32,"contender":"serf","figures":{"dead_median_s":null,"not_seen":31}}
`, b.String())
}

func TestNamesInJSONEndWithTheUnit(t *testing.T) {
	require.Equal(t, "sent_max_bytes_per_s", figure{name: "sent, max", unit: "B/s"}.key())
	require.Equal(t, "cpu_percent", figure{name: "cpu", unit: "% of a core"}.key())
	for _, f := range (detection{}).figures() {
		require.Contains(t, unitKeys, f.unit)
	}
}

func TestRatiosHaveTwoDigitsThatCount(t *testing.T) {
	for want, r := range map[string]float64{"0.012": 0.0123, "0.19": 0.187, "1.1": 1.08, "9.4": 9.44, "12": 11.7, "154": 154.4} {
		require.Equal(t, want, shortRatio(r))
	}
}
