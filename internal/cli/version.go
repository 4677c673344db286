package cli

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"aloft/api"

	"github.com/spf13/cobra"
)

// build is what a binary says of itself.
type build struct {
	Version  string `json:"version"`
	Revision string `json:"revision,omitempty"`
	API      string `json:"api"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

func (a *app) build() build {
	b := build{Version: a.Version, API: api.Version, Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return b
	}
	if b.Version == "" {
		b.Version = info.Main.Version
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			b.Revision = s.Value
		}
	}
	return b
}

func (a *app) versionCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			b := a.build()
			if a.format == "table" || a.format == "wide" {
				fmt.Fprintf(a.Stdout, "aloft %s %s %s\n", orDash(b.Version), b.Go, b.Platform)
				return nil
			}
			return a.print(answer{value: b, names: []string{b.Version}})
		},
	}
	a.outputFlag(c)
	return c
}
