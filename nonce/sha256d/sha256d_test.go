package sha256d

import (
	"crypto/sha256"
	"encoding/hex"
	"math"
	"math/bits"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/p2pnode/p2pnode/nonce"
)

// blocks are real headers of the bitcoin chain, without their nonces.
var blocks = []struct {
	name   string
	header string
	nonce  uint64
	hash   string
}{
	{
		"genesis", "01000000" +
			"0000000000000000000000000000000000000000000000000000000000000000" +
			"3ba3edfd7a7b12b27ac72c3e67768f617fc81bc3888a51323a9fb8aa4b1e5e4a" +
			"29ab5f49ffff001d",
		2083236893, "000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f",
	},
	{
		"1", "01000000" +
			"6fe28c0ab6f1b372c1a6a246ae63f74f931e8365e15a089c68d6190000000000" +
			"982051fd1e4ba744bbbe680e1fee14677ba1a3c3540bf7b1cdb606e857233e0e" +
			"61bc6649ffff001d",
		2573394689, "00000000839a8e6886ab5951d76f411475428afc90947ee320161bbf18eb6048",
	},
	{
		"125552", "01000000" +
			"81cd02ab7e569e8bcd9317e2fe99f2de44d49ab2b8851ba4a308000000000000" +
			"e320b6c2fffc8d750423db8b1eb942ae710e951ed797f7affc8892b0f1fc122b" +
			"c7f5d74df2b9441a",
		2504433986, "00000000000000001e8d6829a8a21adc5d38d0a473b144b6765798e61f98bd1d",
	},
	{
		"277316", "02000000" +
			"69054f28012b4474caa9e821102655cc74037c415ad2bba70200000000000000" +
			"2ecfc74ceb512c5055bcff7e57735f7323c32f8bbb48f5e96307e5268c001cc9" +
			"3a09be520ca30319",
		924591752, "0000000000000001b6b9a13b095e96db41c4a928b97ef2d944a9b31b2cc7bdc4",
	},
}

func mustHeader(t testing.TB, text string) Header {
	h, err := ParseHeader(text)
	require.NoError(t, err)
	return h
}

func mustTarget(t testing.TB, h Header) nonce.Target {
	target, err := Target(h.Bits())
	require.NoError(t, err)
	return target
}

func TestRealBlocksAreFoundAtTheirOwnTarget(t *testing.T) {
	for _, b := range blocks {
		t.Run(b.name, func(t *testing.T) {
			header := mustHeader(t, b.header)
			k := NewKernel(header, mustTarget(t, header))
			hash, ok := k.Verify(b.nonce)
			require.True(t, ok)
			require.Equal(t, b.hash, hash.String())

			hit, ok := k.Scan(nonce.Range{Start: b.nonce - 3000, End: b.nonce + 100})
			require.True(t, ok)
			require.Equal(t, nonce.Result{Nonce: b.nonce, Hash: hash}, hit)

			_, ok = k.Scan(nonce.Range{Start: b.nonce + 1, End: b.nonce + 3000})
			require.False(t, ok, "the nonce itself is outside")
			_, ok = k.Verify(b.nonce + 1)
			require.False(t, ok)
		})
	}
}

func TestScanAgreesWithPlainSHA256(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		header := Header(rapid.SliceOfN(rapid.Byte(), headerSize, headerSize).Draw(t, "header"))
		target := nonce.Target{0: rapid.Byte().Draw(t, "top"), 31: 1} // 1 hit in 256 and more
		start := rapid.Uint64Range(0, nonceEnd-1).Draw(t, "start")
		r := nonce.Range{Start: start, End: start + rapid.Uint64Range(1, 600).Draw(t, "length")}

		var want []nonce.Result
		for n := r.Start; n < min(r.End, nonceEnd); n++ {
			full := append(header[:len(header):len(header)], byte(n), byte(n>>8), byte(n>>16), byte(n>>24))
			first := sha256.Sum256(full)
			hash := nonce.Hash(sha256.Sum256(first[:]))
			if hash.Meets(target) {
				want = append(want, nonce.Result{Nonce: n, Hash: hash})
			}
		}
		k := NewKernel(header, target)
		var got []nonce.Result
		for hit, ok := k.Scan(r); ok; hit, ok = k.Scan(r) {
			got = append(got, hit)
			r.Start = hit.Nonce + 1
		}
		require.Equal(t, want, got)
	})
}

func TestNoncesEndAt32Bits(t *testing.T) {
	k := NewKernel(mustHeader(t, blocks[0].header), nonce.Target{0: 0xff})
	_, ok := k.Verify(nonceEnd)
	require.False(t, ok)
	_, ok = k.Scan(nonce.Range{Start: nonceEnd, End: math.MaxUint64})
	require.False(t, ok)
	hit, ok := k.Scan(nonce.Range{Start: nonceEnd - 8, End: math.MaxUint64})
	require.True(t, ok)
	require.Less(t, hit.Nonce, uint64(nonceEnd))
}

func TestHeaderTextMayBeSpacedAndCarryItsNonce(t *testing.T) {
	plain := mustHeader(t, blocks[0].header)
	for name, text := range map[string]string{
		"80 bytes":         blocks[0].header + "1dac2b7c",
		"upper case":       strings.ToUpper(blocks[0].header),
		"a final newline":  blocks[0].header + "\n",
		"lines and indent": "\r\n\t" + blocks[0].header[:64] + "\n\t" + blocks[0].header[64:] + "\n 1dac2b7c \n",
	} {
		t.Run(name, func(t *testing.T) { require.Equal(t, plain, mustHeader(t, text)) })
	}
}

func TestBadHeadersAreNamed(t *testing.T) {
	h := blocks[0].header
	for name, c := range map[string]struct{ text, want string }{
		"empty":           {"", "block header has 0 bytes, want 76 (without the nonce) or 80"},
		"75 bytes":        {h[:150], "block header has 75 bytes, want 76 (without the nonce) or 80"},
		"78 bytes":        {h + "1dac", "block header has 78 bytes, want 76 (without the nonce) or 80"},
		"odd hex":         {h[:151], "block header: payload: 151 hex digits, an odd number: one is missing or too many"},
		"not hex":         {"01zz", "block header: payload: 'z' at position 3 is not a hex digit"},
		"a prefix 0x":     {"0x" + h, "block header: payload: 'x' at position 2 is not a hex digit"},
		"another letter":  {"é" + h, "block header: payload: 'Ã' at position 1 is not a hex digit"},
		"a whole message": {strings.Repeat("00", 1000), "block header has 1000 bytes, want 76 (without the nonce) or 80"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ParseHeader(c.text)
			require.EqualError(t, err, c.want)
		})
	}
}

func TestTargetOfBits(t *testing.T) {
	for name, c := range map[string]struct {
		bits uint32
		want string
	}{
		"genesis":                  {0x1d00ffff, "00000000ffff0000000000000000000000000000000000000000000000000000"},
		"block 125552":             {0x1a44b9f2, "00000000000044b9f20000000000000000000000000000000000000000000000"},
		"regression test network":  {0x207fffff, "7fffff0000000000000000000000000000000000000000000000000000000000"},
		"exponent 3":               {0x03123456, "0000000000000000000000000000000000000000000000000000000000123456"},
		"exponent below 3":         {0x01120000, "0000000000000000000000000000000000000000000000000000000000000012"},
		"the top byte of all":      {0x220000ff, "ff00000000000000000000000000000000000000000000000000000000000000"},
		"negative bit, no value":   {0x1d800000, ""},
		"negative":                 {0x1d800001, ""},
		"zero":                     {0, ""},
		"mantissa shifted out":     {0x00123456, ""},
		"beyond 256 bits":          {0x23000001, ""},
		"beyond 256 bits by a bit": {0x21010000, ""},
	} {
		t.Run(name, func(t *testing.T) {
			target, err := Target(c.bits)
			if c.want == "" {
				require.ErrorContains(t, err, "of the block header are a")
				return
			}
			require.NoError(t, err)
			require.Equal(t, c.want, target.String())
		})
	}
}

func job(t testing.TB) nonce.Job {
	payload, err := hex.DecodeString(blocks[0].header)
	require.NoError(t, err)
	return nonce.Job{Kind: "sha256d", Payload: payload, Range: nonce.Range{Start: 0, End: nonceEnd}}
}

func TestCompleteTakesTargetFromHeaderAndCutsTheNonce(t *testing.T) {
	j := job(t)
	j.Payload = append(j.Payload, 1, 2, 3, 4)
	require.NoError(t, Kind{}.Complete(&j))
	require.Len(t, j.Payload, 76)
	require.Equal(t, "00000000ffff0000000000000000000000000000000000000000000000000000", j.Target.String())

	given := nonce.Target{1: 7}
	j.Target = given
	require.NoError(t, Kind{}.Complete(&j))
	require.Equal(t, given, j.Target)
}

func TestJobsThatCannotBeSearchedAreRefused(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*nonce.Job)
		want   string
	}{
		"a range beyond 32 bits": {
			func(j *nonce.Job) { j.Range.End = nonceEnd + 1 },
			"range 0:4294967297 goes beyond the 32-bit nonce of a block header: its end is at most 4294967296",
		},
		"more hits than can be listed": {
			func(j *nonce.Job) { j.Stop, j.Target = nonce.All, nonce.Target{0: 0x80} },
			"about 2147483648 hits in range 0:4294967296, at most 256 with stop all: take a lower target or a shorter range",
		},
		"a short header": {
			func(j *nonce.Job) { j.Payload = j.Payload[:40] },
			"block header has 40 bytes, want 76 (without the nonce) or 80",
		},
		"bits without meaning": {
			func(j *nonce.Job) { copy(j.Payload[72:], []byte{0, 0, 0, 0}) },
			"bits 00000000 of the block header are a target of zero: no hash can be a hit",
		},
	} {
		t.Run(name, func(t *testing.T) {
			j := job(t)
			c.change(&j)
			require.EqualError(t, Kind{}.Complete(&j), c.want)
		})
	}
	j := job(t)
	j.Payload = append(j.Payload, 0, 0, 0, 0)
	_, err := Kind{}.Open(&j)
	require.EqualError(t, err, "block header has 80 bytes, want 76 in a job", "from a peer there is one form")
}

func FuzzParseHeader(f *testing.F) {
	f.Add(blocks[0].header)
	f.Add(" " + blocks[1].header + "00000000\n")
	f.Add("0")
	f.Fuzz(func(t *testing.T, text string) {
		h, err := ParseHeader(text)
		if err != nil {
			require.Equal(t, Header{}, h)
			return
		}
		again, err := ParseHeader(hex.EncodeToString(h[:]))
		require.NoError(t, err)
		require.Equal(t, h, again)
	})
}

func FuzzTarget(f *testing.F) {
	f.Add(uint32(0x1d00ffff))
	f.Add(uint32(0x207fffff))
	f.Add(uint32(0x1d800001))
	f.Fuzz(func(t *testing.T, compact uint32) {
		target, err := Target(compact)
		if err != nil {
			return
		}
		// The most significant bit is where the floating point says it is.
		lead := 0
		for lead < len(target) && target[lead] == 0 {
			lead++
		}
		require.Less(t, lead, len(target))
		mantissa := compact & 0x7fffff
		want := 8*(int(compact>>24)-3) + bits.Len32(mantissa)
		require.Equal(t, want, 8*(len(target)-lead-1)+bits.Len8(target[lead]))
	})
}

// BenchmarkScan reports million tries a second on one core, against the plain way measured in the same run.
func BenchmarkScan(b *testing.B) {
	header := mustHeader(b, blocks[0].header)
	target := mustTarget(b, header)
	const slice = 1 << 14
	perSecond := make(map[string]float64)
	for _, way := range []struct {
		name string
		scan func()
	}{
		{"naive", func() {
			for n := range uint32(slice) {
				Verify(header, n, target)
			}
		}},
		{"midstate", func() { NewKernel(header, target).Scan(nonce.Range{Start: 0, End: slice}) }},
	} {
		b.Run(way.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				way.scan()
			}
			perSecond[way.name] = slice * float64(b.N) / b.Elapsed().Seconds() / 1e6
			b.ReportMetric(perSecond[way.name], "MH/s")
			if naive := perSecond["naive"]; naive > 0 && way.name != "naive" {
				b.ReportMetric(perSecond[way.name]/naive, "x-naive")
			}
		})
	}
}
