package journal

import (
	"context"

	"aloft/internal/journal/journalpb"
)

// Reserve returns the number before the first of n that nobody was given before,
// and that are above least. When it returns nil that is on disk: whoever counts
// on goes on after a restart without a record of each number, whatever the clock
// says that least is taken from.
func (j *Journal) Reserve(ctx context.Context, of string, least, n int64) (int64, error) {
	for {
		known, revision, err := j.sequences.load(ctx, of)
		if err != nil {
			return 0, err
		}
		from := max(least, known.GetBelow())
		w := j.sequences.Set(&journalpb.Sequence{Of: of, Below: from + n})
		w.revision = revision
		if saved, err := j.save(ctx, []Write{w}); saved || err != nil {
			return from, err
		}
	}
}
