package server

import (
	"context"
	"net/http"

	"aloft/api"

	"github.com/danielgtaylor/huma/v2"
)

// users registers the operations on who may call over the network.
func (s *Server) users() {
	add(s, huma.Operation{
		OperationID: "users", Method: http.MethodGet, Path: "/v1/users", Summary: "List who may call over the network",
	}, func(ctx context.Context, in *page) (*paged[[]api.User], error) {
		list, err := present(s.cfg.Service.Users(ctx))
		if err != nil {
			return nil, err
		}
		list, next, err := cut(list, *in, true, func(u api.User) string { return u.Name })
		return &paged[[]api.User]{in.next("/v1/users", next), list}, err
	})
	register(s, huma.Operation{
		OperationID: "addUser", Method: http.MethodPost, Path: "/v1/users",
		Summary: "Let somebody call over the network", Errors: []int{422, 503},
	}, func(ctx context.Context, in *body[api.UserRequest]) (*api.Credential, error) {
		return s.cfg.Service.AddUser(ctx, in.Body)
	})
	register(s, huma.Operation{
		OperationID: "renewUser", Method: http.MethodPost, Path: "/v1/renewal",
		Summary: "Give the caller a new certificate", Errors: []int{403, 422, 503},
	}, func(ctx context.Context, in *body[api.RenewRequest]) (*api.Credential, error) {
		return s.cfg.Service.RenewUser(ctx, in.Body)
	})
	type user struct {
		User string `path:"user"`
	}
	register(s, huma.Operation{
		OperationID: "removeUser", Method: http.MethodDelete, Path: "/v1/users/{user}",
		Summary: "Refuse somebody from now on", Errors: []int{404, 503},
	}, func(ctx context.Context, in *user) (*api.User, error) {
		return s.cfg.Service.RemoveUser(ctx, in.User)
	})
}
