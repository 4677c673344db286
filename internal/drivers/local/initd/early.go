package initd

import (
	"os"

	"aloft/internal/drivers/local/names"
)

// init runs `aloft init` before the packages that only other commands need are
// initialised: they cost 10 ms of processor time in each of a thousand first
// processes. Whatever Main uses is initialised by then, because this package
// imports it.
func init() {
	if len(os.Args) > 1 && os.Args[1] == names.Init {
		os.Exit(Main(os.Args[2:]))
	}
}
