package server

import (
	"context"
	"net/http"

	"aloft/api"

	"github.com/danielgtaylor/huma/v2"
)

// secrets registers the operations on secrets. None gives a content away.
func (s *Server) secrets() {
	type none struct{}
	type named struct {
		Name string `path:"name" maxLength:"128"`
	}
	register(s, huma.Operation{
		OperationID: "secrets", Method: http.MethodGet, Path: "/v1/secrets", Summary: "List the secrets, without their contents",
	}, func(ctx context.Context, _ *none) ([]api.Secret, error) {
		return present(s.cfg.Service.Secrets(ctx))
	})
	type set struct {
		Name string `path:"name" maxLength:"128"`
		Body api.SecretContent
	}
	register(s, huma.Operation{
		OperationID: "setSecret", Method: http.MethodPut, Path: "/v1/secrets/{name}",
		Summary: "Give a secret its content", Errors: []int{422, 503},
	}, func(ctx context.Context, in *set) (*api.Secret, error) {
		return s.cfg.Service.SetSecret(ctx, in.Name, in.Body.Content)
	})
	register(s, huma.Operation{
		OperationID: "removeSecret", Method: http.MethodDelete, Path: "/v1/secrets/{name}",
		Summary: "Remove a secret that no system refers to", Errors: []int{404, 409, 503},
	}, func(ctx context.Context, in *named) (*api.Secret, error) {
		return s.cfg.Service.RemoveSecret(ctx, in.Name)
	})
}
