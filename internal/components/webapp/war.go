package webapp

import (
	"archive/zip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"aloft/component"
	"aloft/internal/host/catalina"
)

// maxDescriptor bounds the descriptor that an application brings.
const maxDescriptor = 1 << 20

// checkWAR reads all of a WAR, and returns the descriptor that it brings, or
// nil. What is wrong with it is better told here than by Tomcat.
func checkWAR(ctx context.Context, f *os.File) (descriptor []byte, err error) {
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	archive, err := zip.NewReader(f, st.Size())
	if err != nil {
		return nil, broken(err)
	}
	for _, entry := range archive.File {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		content, err := readEntry(entry)
		if err != nil {
			return nil, broken(fmt.Errorf("%s: %w", entry.Name, err))
		}
		if content != nil {
			descriptor = content
		}
	}
	if len(archive.File) == 0 {
		return nil, broken(errors.New("it is empty"))
	}
	if err := (catalina.Context{Own: descriptor}).Check(); err != nil {
		return nil, broken(fmt.Errorf("META-INF/context.xml: %w", err))
	}
	return descriptor, nil
}

// readEntry reads an entry to its end, where its checksum is looked at, and
// returns it if it is the descriptor.
func readEntry(entry *zip.File) ([]byte, error) {
	r, err := entry.Open()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	if entry.Name != "META-INF/context.xml" {
		_, err = io.Copy(io.Discard, r)
		return nil, err
	}
	b, err := io.ReadAll(io.LimitReader(r, maxDescriptor+1))
	if err == nil && len(b) > maxDescriptor {
		err = fmt.Errorf("it is larger than %d bytes", maxDescriptor)
	}
	return b, err
}

func broken(err error) error {
	return &component.Failure{Err: fmt.Errorf("it is no WAR that can be read: %w", err), Remedy: "build it anew, or fetch it again"}
}
