package server

import (
	"context"
	"net/http"

	"aloft/api"

	"github.com/danielgtaylor/huma/v2"
)

// cluster registers the operations on the members of the cluster.
func (s *Server) cluster() {
	type none struct{}
	register(s, huma.Operation{
		OperationID: "cluster", Method: http.MethodGet, Path: "/v1/cluster", Summary: "List the members of the cluster",
	}, func(ctx context.Context, _ *none) (*api.Cluster, error) {
		return s.cfg.Service.Cluster(ctx)
	})
	register(s, huma.Operation{
		OperationID: "issuer", Method: http.MethodGet, Path: "/v1/cluster/issuer",
		Summary: "The certificate of the issuer of services, which their clients trust", Errors: []int{404},
	}, func(ctx context.Context, _ *none) (*api.Issuer, error) {
		return s.cfg.Service.Issuer(ctx)
	})
	register(s, huma.Operation{
		OperationID: "newToken", Method: http.MethodPost, Path: "/v1/cluster/tokens",
		Summary: "Make a token with which one daemon may join the cluster", Errors: []int{422, 503},
	}, func(ctx context.Context, in *body[api.TokenRequest]) (*api.JoinToken, error) {
		return s.cfg.Service.NewToken(ctx, in.Body)
	})
	type member struct {
		Member string `path:"member" doc:"name or id"`
	}
	register(s, huma.Operation{
		OperationID: "promote", Method: http.MethodPost, Path: "/v1/cluster/members/{member}/promote",
		Summary: "Make a host a manager", Errors: []int{404, 409, 503},
	}, func(ctx context.Context, in *member) (*api.MemberChange, error) {
		return s.cfg.Service.Promote(ctx, in.Member)
	})
	register(s, huma.Operation{
		OperationID: "demote", Method: http.MethodPost, Path: "/v1/cluster/members/{member}/demote",
		Summary: "Make a manager a host", Errors: []int{404, 409, 503},
	}, func(ctx context.Context, in *member) (*api.MemberChange, error) {
		return s.cfg.Service.Demote(ctx, in.Member)
	})
	register(s, huma.Operation{
		OperationID: "removeMember", Method: http.MethodDelete, Path: "/v1/cluster/members/{member}",
		Summary: "Remove a member for good", Errors: []int{404, 409, 503},
	}, func(ctx context.Context, in *struct {
		Member string `path:"member" doc:"name or id"`
		Force  bool   `query:"force" doc:"also a host that there are machines on: they are lost"`
	},
	) (*api.MemberChange, error) {
		return s.cfg.Service.RemoveMember(ctx, in.Member, in.Force)
	})
}
