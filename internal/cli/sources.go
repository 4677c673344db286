package cli

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"aloft/api"
	"aloft/client"
	"aloft/component"
	"aloft/internal/sdl/catalog"
	"aloft/internal/sdl/diag"
	"aloft/value"
)

// shipment is what a description takes along: the files and folders that
// attributes name, which its machines cannot see. Each such attribute is
// replaced by a DATA component,
//
//	extends DATA { path "app.py"; digest "sha256:…"; mode "0644"; }
//	extends DATA { path "pages"; mode "0755"; files [| …one of the above per file… |]; }
//
// where path is as written, or of a file in a folder its path below that.
type shipment struct {
	class func(string) (component.Class, bool)
	dir   string // of the description
	done  map[*value.Component]*value.Component
	files map[string]string // digest to a file with that content
	// folders are the folders of executables, by where they are.
	folders map[string]*value.Component
	list    []api.Source
	diags   diag.List

	// recorded are what was shipped before: what is not looked for again.
	recorded []api.WrittenSource
	sources  []api.WrittenSource // what is shipped
}

// ship returns root with its sources replaced.
func (s *shipment) ship(ctx context.Context, root *value.Component) *value.Component {
	if s.class == nil {
		return root
	}
	s.done, s.files = map[*value.Component]*value.Component{}, map[string]string{}
	s.folders = map[string]*value.Component{}
	return s.component(ctx, root)
}

func (s *shipment) component(ctx context.Context, c *value.Component) *value.Component {
	if out, ok := s.done[c]; ok {
		return out
	}
	var class component.Class
	if name, ok := c.Get("sfClass"); ok {
		if name, ok := name.(value.String); ok {
			class, _ = s.class(string(name))
		}
	}
	out, changed := value.NewComponent(c.Data), false
	scripts := s.scripts(ctx, c)
	for attr := range c.All() {
		switch v := attr.Value.(type) {
		case *value.Component:
			if !v.Data {
				attr.Value = s.component(ctx, v)
				changed = changed || attr.Value != value.Value(v)
			}
		case value.String:
			if line, ok := class.Attribute(attr.Name); ok && line.Source && !isAddress(string(v)) {
				if data := s.source(attr, string(v)); data != nil {
					attr.Value, changed = data, true
				}
			}
		case value.Vector:
			if line, ok := class.Attribute(attr.Name); ok && line.Source {
				attr.Value, changed = s.each(attr, v), true
			}
		}
		out.Set(attr)
	}
	if scripts != nil {
		out.Set(value.Attr{Name: catalog.ScriptsAttr, Value: scripts})
		changed = true
	}
	if !changed {
		out = c // keeps what is shared shared
	}
	s.done[c] = out
	return out
}

// scripts returns what stands for the folder of executables that the class of c
// is, with what they say of themselves; nil where it is of another class.
func (s *shipment) scripts(ctx context.Context, c *value.Component) value.Value {
	attr, _ := c.Attr("sfClass")
	name, _ := attr.Value.(value.String)
	if c.Data || !catalog.IsScripts(string(name)) {
		return nil
	}
	folder := strings.TrimPrefix(string(name), catalog.ScriptsPrefix)
	if strings.TrimSpace(folder) == "" {
		return nil // planning says what is missing
	}
	if data := s.before(attr, string(name)); data != nil {
		return data
	}
	dir, _, err := s.find(attr, folder)
	if ran := s.folders[dir]; ran != nil && err == nil {
		return ran
	}
	data, _ := s.source(attr, folder).(*value.Component)
	if data == nil {
		return nil // reported
	}
	if err == nil {
		var text string
		if text, err = describedBy(ctx, dir); err == nil && text != "" {
			data.Set(value.Attr{Name: catalog.DescribeScript, Value: value.String(text)})
		}
	}
	if err != nil {
		d := diag.New(diag.AttributeWrong, diag.At(attr.Pos), fmt.Sprintf("%s: %v", name, err))
		d.Attribute = attr.Name
		s.diags.Add(d)
		return nil
	}
	s.folders[dir] = data
	s.stands(attr, string(name), data)
	return data
}

// describeTime is how long describe may take. It is to print, no more.
const describeTime = 10 * time.Second

// describedBy returns what the describe of a folder of executables prints; ""
// if there is none.
func describedBy(ctx context.Context, dir string) (string, error) {
	file, err := filepath.Abs(filepath.Join(dir, catalog.DescribeScript))
	if err != nil {
		return "", err
	}
	if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	ctx, cancel := context.WithTimeout(ctx, describeTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, file)
	var out, said bytes.Buffer
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr, cmd.WaitDelay = filepath.Dir(file), []string{"PATH=" + os.Getenv("PATH")}, &out, &said, time.Second
	err = cmd.Run()
	switch {
	case ctx.Err() != nil:
		return "", fmt.Errorf("describe did not end within %s", describeTime)
	case err != nil:
		return "", fmt.Errorf("describe: %w: %s", bare(err), oneLine(said.String()))
	case out.Len() > maxDescribe:
		return "", fmt.Errorf("describe printed more than %d bytes", maxDescribe)
	}
	return out.String(), nil
}

// maxDescribe bounds what describe may print; it is part of the description.
const maxDescribe = 64 << 10

// each returns what stands for the files that the elements of attr name.
func (s *shipment) each(attr value.Attr, names value.Vector) value.Vector {
	out := slices.Clone(names)
	for i, e := range names {
		if name, ok := e.(value.String); ok {
			if data := s.source(attr, string(name)); data != nil {
				out[i] = data
			}
		}
	}
	return out
}

// isAddress reports whether a source comes from the network: the machine gets it.
func isAddress(source string) bool {
	return strings.HasPrefix(source, "http://") || strings.HasPrefix(source, "https://")
}

// source returns the component that stands for the file or folder that attr
// names, or reports why there is none.
func (s *shipment) source(attr value.Attr, name string) value.Value {
	if v := s.before(attr, name); v != nil {
		return v
	}
	file, info, err := s.find(attr, name)
	if err != nil {
		d := diag.New(diag.AttributeWrong, diag.At(attr.Pos), fmt.Sprintf("source %q: %v", name, err))
		d.Attribute = attr.Name
		d.Hints = []string{"the path counts from the folder of the file it is written in"}
		s.diags.Add(d)
		return nil
	}
	var data value.Value
	if info.IsDir() {
		data, err = s.folder(file, name, info)
	} else {
		data, err = s.file(file, name, info)
	}
	if err != nil {
		d := diag.New(diag.AttributeWrong, diag.At(attr.Pos), fmt.Sprintf("source %q: %v", name, bare(err)))
		d.Attribute = attr.Name
		s.diags.Add(d)
		return nil
	}
	s.stands(attr, name, data)
	return data
}

// before returns what stood for the source that attr names when it was shipped
// before, nil where it was not.
func (s *shipment) before(attr value.Attr, name string) value.Value {
	for _, r := range s.recorded {
		if r.File == attr.Pos.File && r.Name == name {
			if v, err := value.Decode(r.Value); err == nil {
				s.note(r)
				return v
			}
		}
	}
	return nil
}

// stands notes what stands for a source.
func (s *shipment) stands(attr value.Attr, name string, data value.Value) {
	if wire, err := value.Encode(data); err == nil {
		s.note(api.WrittenSource{File: attr.Pos.File, Name: name, Value: wire})
	}
}

func (s *shipment) note(r api.WrittenSource) {
	if !slices.ContainsFunc(s.sources, func(o api.WrittenSource) bool { return o.File == r.File && o.Name == r.Name }) {
		s.sources = append(s.sources, r)
	}
}

// find looks beside the text that names the source, then beside the
// description: a template in the library names files of its users.
func (s *shipment) find(attr value.Attr, name string) (string, fs.FileInfo, error) {
	if filepath.IsAbs(name) {
		info, err := os.Stat(name)
		return name, info, bareOrNil(err)
	}
	beside := filepath.Join(filepath.Dir(filepath.FromSlash(attr.Pos.File)), name)
	if info, err := os.Stat(beside); err == nil && attr.Pos.IsValid() {
		return beside, info, nil
	}
	file := filepath.Join(s.dir, name)
	info, err := os.Stat(file)
	return file, info, bareOrNil(err)
}

func bareOrNil(err error) error {
	if err == nil {
		return nil
	}
	return bare(err)
}

func (s *shipment) file(file, name string, info fs.FileInfo) (*value.Component, error) {
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("neither a file nor a folder")
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	h := sha256.New()
	size, err := io.Copy(h, f)
	if err != nil {
		return nil, err
	}
	digest := "sha256:" + hex.EncodeToString(h.Sum(nil))
	if _, ok := s.files[digest]; !ok {
		s.files[digest] = file
		s.list = append(s.list, api.Source{Digest: digest, Size: size})
	}
	return value.NewComponent(true,
		value.Attr{Name: "path", Value: value.String(filepath.ToSlash(name))},
		value.Attr{Name: "digest", Value: value.String(digest)},
		value.Attr{Name: "mode", Value: mode(info)},
	), nil
}

// folder takes every file below dir, in the order of their paths. Links are
// followed to files only, so that no folder is taken twice or for ever.
func (s *shipment) folder(dir, name string, info fs.FileInfo) (*value.Component, error) {
	files := value.Vector{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := os.Stat(path)
		if err != nil {
			return err
		}
		below, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		c, err := s.file(path, below, info)
		if err != nil {
			return fmt.Errorf("%s: %w", below, bare(err))
		}
		files = append(files, c)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return value.NewComponent(true,
		value.Attr{Name: "path", Value: value.String(filepath.ToSlash(name))},
		value.Attr{Name: "mode", Value: mode(info)},
		value.Attr{Name: "files", Value: files},
	), nil
}

// mode is the permission bits as File and Directory write them.
func mode(info fs.FileInfo) value.Value {
	return value.String(fmt.Sprintf("%04s", strconv.FormatUint(uint64(info.Mode().Perm()), 8)))
}

// upload sends the contents that the daemon does not have.
func (s *shipment) upload(ctx context.Context, cl *client.Client) error {
	if len(s.list) == 0 {
		return nil
	}
	digests := make([]string, len(s.list))
	for i, src := range s.list {
		digests[i] = src.Digest
	}
	missing, err := cl.MissingBlobs(ctx, digests)
	if err != nil {
		return err
	}
	for _, digest := range missing {
		if err := put(ctx, cl, digest, s.files[digest]); err != nil {
			return fmt.Errorf("upload %s: %w", s.files[digest], err)
		}
	}
	return nil
}

func put(ctx context.Context, cl *client.Client, digest, file string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	return cl.PutBlob(ctx, digest, f)
}
