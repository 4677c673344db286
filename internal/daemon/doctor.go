package daemon

import (
	"context"

	"aloft/api"
)

// examine looks at what this host can do and at what is left over on it.
func (m *Manager) examine(ctx context.Context, r api.DoctorRequest) (*api.DoctorReport, error) {
	return &api.DoctorReport{Checks: []api.Check{}, LeftOver: []api.LeftOver{}}, nil
}
