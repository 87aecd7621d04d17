package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/p2pnode/p2pnode/gossipstate/replica"
	"github.com/p2pnode/p2pnode/node"
)

// output is an answer with a JSON body.
type output[T any] struct{ Body T }

// register declares every operation.
func (s *Server) register(api huma.API) {
	s.registerHealth(api)
	s.registerNode(api)
	s.registerMembers(api)
	s.registerState(api)
	s.registerExport(api)
	s.registerWatch(api)
	s.registerJobs(api)
}

func (s *Server) registerNode(api huma.API) {
	huma.Register(api, operation(api, http.MethodGet, "/v1/status", "status", "The node, summed up"), s.status)
	huma.Register(api, operation(api, http.MethodGet, "/v1/node", "node", "What the node is"),
		func(context.Context, *struct{}) (*output[NodeInfo], error) {
			return &output[NodeInfo]{nodeInfoOf(s.node.Info())}, nil
		})
	huma.Register(api, operation(api, http.MethodGet, "/v1/version", "version", "Which program answers"),
		func(context.Context, *struct{}) (*output[Version], error) {
			return &output[Version]{versionOf(s.node.Info())}, nil
		})
	huma.Register(api, operation(api, http.MethodGet, "/v1/peers", "peers", "Connected peers, by id"),
		func(context.Context, *struct{}) (*output[Page[Peer]], error) {
			peers := list(s.node.Peers(), peerOf)
			slices.SortFunc(peers, func(a, b Peer) int { return strings.Compare(a.ID, b.ID) })
			return &output[Page[Peer]]{Page[Peer]{Items: peers}}, nil
		})
	stop := operation(api, http.MethodPost, "/v1/stop", "stop", "Leave the network and end")
	stop.DefaultStatus = http.StatusAccepted
	huma.Register(api, stop, func(context.Context, *struct{}) (*output[Health], error) {
		s.cfg.Logger.Info("stopping: asked to by the API")
		s.cfg.Stop()
		return &output[Health]{Health{Status: node.CheckOK, Checks: []Check{}}}, nil
	})
}

func (s *Server) status(ctx context.Context, _ *struct{}) (*output[Status], error) {
	st, err := s.node.Status(ctx)
	if err != nil {
		return nil, s.fail(err, "")
	}
	out := statusOfNode(st)
	out.Work = s.runningJobs(ctx, st.Info.Topics)
	return &output[Status]{out}, nil
}

func (s *Server) registerMembers(api huma.API) {
	huma.Register(api, operation(api, http.MethodGet, "/v1/members", "members", "Members of the network, by id"), s.members)
	huma.Register(api, operation(api, http.MethodGet, "/v1/members/{id}", "member", "One member, and what became of it"), s.member)
}

type membersInput struct {
	Status string `query:"status" enum:"alive,suspect,dead,left" doc:"only members of this status"`
	Tag    string `query:"tag" maxLength:"512" doc:"only members with this tag: NAME, or NAME=VALUE"`
}

func (s *Server) members(ctx context.Context, in *membersInput) (*output[Page[Member]], error) {
	all, err := s.allMembers(ctx)
	if err != nil {
		return nil, err
	}
	name, value, withValue := strings.Cut(in.Tag, "=")
	chosen := slices.DeleteFunc(all, func(m Member) bool {
		if in.Status != "" && m.Status != in.Status {
			return true
		}
		tag, tagged := m.Tags[name]
		return in.Tag != "" && (!tagged || withValue && tag != value)
	})
	slices.SortFunc(chosen, func(a, b Member) int { return strings.Compare(a.ID, b.ID) })
	return &output[Page[Member]]{Page[Member]{Items: chosen}}, nil
}

func (s *Server) allMembers(ctx context.Context) ([]Member, error) {
	all, err := s.node.Members(ctx)
	if err != nil {
		return nil, s.fail(err, "")
	}
	reach, err := s.node.Reach(ctx)
	if err != nil {
		return nil, s.fail(err, "")
	}
	skew := s.node.Info().MaxClockSkew
	return list(all, func(m replica.Member) Member { return memberOf(m, reach[m.ID], skew) }), nil
}

type memberInput struct {
	ID string `path:"id" maxLength:"128" doc:"peer id, node name, or unique suffix of the id"`
}

func (s *Server) member(ctx context.Context, in *memberInput) (*output[MemberStory], error) {
	id, err := s.resolve(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	all, err := s.allMembers(ctx)
	if err != nil {
		return nil, err
	}
	for _, m := range all {
		if m.ID != id.String() {
			continue
		}
		story, err := s.node.Story(ctx, id)
		if err != nil && !errors.Is(err, replica.ErrNotFound) { // it may have been forgotten a moment ago
			return nil, s.fail(err, "")
		}
		return &output[MemberStory]{MemberStory{
			Member: m, Story: list(story, transitionOf), PhiInterval: node.PhiEvery.Seconds(),
			PhiHistory: list(s.node.PhiHistory(id), func(phi float64) float64 { return min(finite(phi), maxPhi) }),
		}}, nil
	}
	return nil, unknownMember(in.ID)
}

// minSuffix is how short a suffix of a peer id may be.
const minSuffix = 4

// resolve finds the peer that who names: by its id, by a member's name, or by the suffix of one member's id.
func (s *Server) resolve(ctx context.Context, who string) (peer.ID, error) {
	if id, err := peer.Decode(who); err == nil {
		if _, err := replica.OwnerOf(id); err != nil {
			return "", problem(node.CodeBadPeerID, clip(err.Error()), "ids of nodes start with 12D3KooW")
		}
		return id, nil
	}
	members, err := s.node.Members(ctx)
	if err != nil {
		return "", s.fail(err, "")
	}
	matches := choose(members, func(m replica.Member) bool { return m.Name == who })
	if len(matches) == 0 && len(who) >= minSuffix {
		matches = choose(members, func(m replica.Member) bool { return strings.HasSuffix(text(m.ID), who) })
	}
	switch len(matches) {
	case 1:
		return matches[0].ID, nil
	case 0:
		return "", unknownMember(who)
	}
	return "", problem(node.CodeAmbiguousPeer, fmt.Sprintf("%d members are called %q, or their ids end so", len(matches), clip(who)),
		"write more of the id: p2pnode members --full")
}

func choose[T any](all []T, keep func(T) bool) []T {
	var out []T
	for _, v := range all {
		if keep(v) {
			out = append(out, v)
		}
	}
	return out
}

func unknownMember(who string) *Error {
	return problem(node.CodeUnknownMember, fmt.Sprintf("no member %q", clip(who)), "p2pnode members")
}
