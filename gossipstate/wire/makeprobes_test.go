package wire_test

import (
	"bytes"

	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

func slowProbe(p *wire.BeatProbe) message {
	return message(nil).bytes(1, p.Owner[:]).fixed32(2, p.Anchor).uint(3, uint64(p.Index))
}

func slowAnswer(a *wire.BeatAnswer) message {
	m := message(nil).bytes(1, a.Owner[:])
	if a.Reached {
		m = m.uint(2, 1)
	}
	return m
}

func validProbeFrames() []vector {
	valid := func(name, what string, f wire.BeatFrame, b []byte) vector {
		return vec("beat_frame", name, what, b).holds(expect{BeatFrame: beatFrameOf(&f)})
	}
	probes := []wire.BeatProbe{{Owner: alice.id, Anchor: sampleAnchor.Name(), Index: wire.MaxBeats}, {Owner: bob.id}}
	answers := []wire.BeatAnswer{{Owner: alice.id, Reached: true}, {Owner: bob.id}}
	beat := wire.Beat{Anchor: sampleAnchor.Name(), Index: 1, Preimage: [16]byte{1}}
	return []vector{
		valid("beats-probes", "Asks about two members; of the second no chain is known.", wire.BeatFrame{Probes: probes},
			message(nil).sub(6, slowProbe(&probes[0])).sub(6, slowProbe(&probes[1]))),
		valid("beats-answers", "One was reached, one was not.", wire.BeatFrame{Answers: answers},
			message(nil).sub(7, slowAnswer(&answers[0])).sub(7, slowAnswer(&answers[1]))),
		valid("beats-probe-and-answer", "A beat, a probe and an answer in one frame.",
			wire.BeatFrame{Beats: []wire.Beat{beat}, Probes: probes[:1], Answers: answers[1:]},
			message(nil).sub(3, slowBeat(&beat)).sub(6, slowProbe(&probes[0])).sub(7, slowAnswer(&answers[1]))),
	}
}

func invalidProbeFrames() []vector {
	bad := func(class, name, what string, b []byte) vector { return vec("beat_frame", name, what, b).fails(class) }
	probe, answer := message(nil).sub(6, slowProbe(&wire.BeatProbe{Owner: alice.id})), message(nil).sub(7, slowAnswer(&wire.BeatAnswer{Owner: alice.id}))
	empty, emptyAnswer := message(nil).sub(6, nil), message(nil).sub(7, nil)
	high := []byte{0x80, 0x80, 0x80, 0x80, 0x80, 0x01, 0}
	return []vector{
		bad(classMalformed, "beats-probe-of-nobody", "A probe without an owner.", empty),
		bad(classMalformed, "beats-probe-long-owner", "An owner of 33 bytes.", message(nil).sub(6, message(nil).bytes(1, make([]byte, 33)))),
		bad(classMalformed, "beats-probe-after-4097", "No chain has so many beats.", message(nil).sub(6, slowProbe(&wire.BeatProbe{Owner: alice.id, Index: wire.MaxBeats + 1}))),
		bad(classMalformed, "beats-probe-not-protobuf", "A field number of 31 bits in a probe.",
			message(nil).sub(6, append(slowProbe(&wire.BeatProbe{Owner: alice.id}), high...))),
		bad(classMalformed, "beats-answer-short-owner", "An owner of 31 bytes.", message(nil).sub(7, message(nil).bytes(1, make([]byte, 31)))),
		bad(classMalformed, "beats-answer-not-protobuf", "A field number of 31 bits in an answer.",
			message(nil).sub(7, append(slowAnswer(&wire.BeatAnswer{Owner: alice.id}), high...))),
		bad(classTooLarge, "beats-65-probes", "One probe too many.", bytes.Repeat(probe, wire.MaxFrameProbes+1)).folded(probe),
		bad(classTooLarge, "beats-65-answers", "One answer too many.", bytes.Repeat(answer, wire.MaxFrameProbes+1)).folded(answer),
		bad(classTooLarge, "beats-probe-bomb", "256 KiB of empty probes.", bytes.Repeat(empty, wire.MaxFrame/2)).folded(empty),
		bad(classTooLarge, "beats-answer-bomb", "256 KiB of empty answers.", bytes.Repeat(emptyAnswer, wire.MaxFrame/2)).folded(emptyAnswer),
	}
}
