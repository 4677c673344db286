package host

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"aloft/component"
)

// Source is a source of packages of the machine's distribution: one that apt
// takes packages from if they are signed with its key.
type Source struct {
	Name       string // of its file
	URL        string
	Suite      string // one that ends with "/" has no components
	Components []string
	Key        string // OpenPGP public keys, armoured
	Proxy      string
	WorkDir    string // keeps the records of what was there before
}

var (
	sourceName = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,60}[a-z0-9])?$`)
	sourceWord = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._+~-]*(/[A-Za-z0-9._+~-]+)*$`)
	sourceURL  = regexp.MustCompile(`^https?://[A-Za-z0-9.-]+(:[0-9]+)?(/[A-Za-z0-9._~%+-]+)*/?$`)
)

// SourceProblem is what is wrong with one word of a source.
type SourceProblem struct{ Attr, Found, Message, Remedy string }

// Problems returns what is wrong with the words that are given.
func (s Source) Problems() (list []SourceProblem) {
	wrong := func(attr, found, remedy string) {
		list = append(list, SourceProblem{attr, found, fmt.Sprintf("%q cannot be the %s of a package source", found, attr), remedy})
	}
	if s.Name != "" && !sourceName.MatchString(s.Name) {
		wrong("name", s.Name, "use small letters, digits and hyphens")
	}
	if _, err := url.Parse(s.URL); s.URL != "" && (err != nil || !sourceURL.MatchString(s.URL)) {
		wrong("url", s.URL, "write its address, such as https://host/debian, without user and query")
	}
	if flat := strings.TrimSuffix(s.Suite, "/"); s.Suite != "" && s.Suite != "/" && s.Suite != "./" && !sourceWord.MatchString(flat) {
		wrong("suite", s.Suite, "write the name of a suite such as stable; a path that ends with / for a source without components")
	}
	for _, c := range s.Components {
		if !sourceWord.MatchString(c) {
			wrong("components", c, "write names such as main")
		}
	}
	if strings.HasSuffix(s.Suite, "/") && len(s.Components) > 0 {
		list = append(list, SourceProblem{"components", strings.Join(s.Components, " "), "a suite that ends with / has no components", "leave components out, or the / of suite"})
	}
	if s.Key != "" {
		if err := checkKey(s.Key); err != nil {
			list = append(list, SourceProblem{"key", strings.SplitN(s.Key, "\n", 2)[0], "key: " + err.Error(), "give the text of the source's public key, from BEGIN PGP PUBLIC KEY BLOCK to END"})
		}
	}
	return list
}

// checkKey returns an error if text is not OpenPGP public keys in their
// armoured form (RFC 9580, section 6). Whether they are the right ones, apt
// finds.
func checkKey(text string) error {
	const begin, end = "-----BEGIN PGP PUBLIC KEY BLOCK-----", "-----END PGP PUBLIC KEY BLOCK-----"
	if strings.ContainsRune(text, '\r') || strings.ContainsRune(text, 0) {
		text = strings.ReplaceAll(text, "\r\n", "\n")
		if strings.ContainsAny(text, "\r\x00") {
			return errors.New("it has characters that no key has")
		}
	}
	_, rest, found := strings.Cut(text, begin)
	if strings.Contains(text, "PRIVATE KEY") {
		return errors.New("it is a private key: whoever has it can sign in its owner's name")
	}
	if !found {
		return errors.New("it does not begin with " + begin)
	}
	body, _, found := strings.Cut(rest, end)
	if !found {
		return errors.New("it does not end with " + end)
	}
	if _, after, headers := strings.Cut(body, "\n\n"); headers {
		body = after
	}
	var packed strings.Builder
	sum := ""
	for line := range strings.SplitSeq(body, "\n") {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "=") {
			sum = line[1:]
			break
		}
		packed.WriteString(line)
	}
	b, err := base64.StdEncoding.DecodeString(packed.String())
	if err != nil {
		return fmt.Errorf("its text is not whole: %w", err)
	}
	if want, err := base64.StdEncoding.DecodeString(sum); sum != "" && (err != nil || !bytes.Equal(want, crc24(b))) {
		return errors.New("its checksum is wrong: something of it is missing or changed")
	}
	// The first packet's tag, in the old or the new form, is that of a public key.
	if len(b) < 2 || b[0]&0x80 == 0 || b[0]&0x40 == 0 && b[0]>>2&0xf != 6 || b[0]&0x40 != 0 && b[0]&0x3f != 6 {
		return errors.New("it holds no public key")
	}
	return nil
}

// crc24 is the checksum of armour.
func crc24(b []byte) []byte {
	crc := uint32(0xB704CE)
	for _, c := range b {
		crc ^= uint32(c) << 16
		for range 8 {
			if crc <<= 1; crc&0x1000000 != 0 {
				crc ^= 0x1864CFB
			}
		}
	}
	return []byte{byte(crc >> 16), byte(crc >> 8), byte(crc)}
}

// file is the source's file, and keyFile that of its key.
func (s Source) file() Kept {
	return Kept{Path: "/etc/apt/sources.list.d/aloft-" + s.Name + ".sources", WorkDir: s.WorkDir, Name: "source"}
}

func (s Source) keyFile() Kept {
	return Kept{Path: "/etc/apt/keyrings/aloft-" + s.Name + ".asc", WorkDir: s.WorkDir, Name: "key"}
}

// text is the source as apt reads it.
func (s Source) text() []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "# Made by aloft; what is changed here is changed back.\nTypes: deb\nURIs: %s\nSuites: %s\n", s.URL, s.Suite)
	if len(s.Components) > 0 {
		fmt.Fprintf(&b, "Components: %s\n", strings.Join(s.Components, " "))
	}
	fmt.Fprintf(&b, "Signed-By: %s\n", s.keyFile().Path)
	return []byte(b.String())
}

func (s Source) keyText() []byte { return []byte(strings.TrimSpace(s.Key) + "\n") }

// sourceOwned is how both files are owned: apt's own user reads them.
var sourceOwned = Owned{Mode: 0o644}

// AddSource adds a source with its key, and reads its list of packages: that
// fails where it does not answer, or is not signed with the key.
func (p *Packages) AddSource(ctx context.Context, s Source, env component.Environment) error {
	if list := s.Problems(); len(list) > 0 {
		return &component.Failure{Err: errors.New(list[0].Message), Remedy: list[0].Remedy}
	}
	release, err := p.take(ctx)
	if err != nil {
		return err
	}
	defer release()
	if err := mayBegin(ctx); err != nil {
		return err
	}
	if was, err := os.ReadFile(s.file().Path); err == nil && !bytes.Equal(was, s.text()) {
		forgetLists(string(was))
	}
	for _, f := range []struct {
		kept Kept
		text []byte
	}{{s.keyFile(), s.keyText()}, {s.file(), s.text()}} {
		if _, err := f.kept.Put(f.text, sourceOwned); err != nil {
			return err
		}
	}
	var checked checkedSource
	if _, err := ReadRecord(s.WorkDir, checkedFile, &checked); err != nil {
		return err
	}
	if checked.Digest == s.digest() && s.listed() {
		return nil
	}
	env.Progress(0, "reading the list of "+s.URL)
	a := apt{proxy: s.Proxy, log: p.log, env: env}
	err = a.run(ctx, "-o", "Dir::Etc::sourcelist="+s.file().Path, "-o", "Dir::Etc::sourceparts=-", "-o", "APT::Get::List-Cleanup=0", "update")
	if err == nil && !s.listed() {
		err = fmt.Errorf("%s has no list of packages for this machine", s.URL)
	}
	if err != nil {
		return s.explain(err)
	}
	return WriteRecord(s.WorkDir, checkedFile, checkedSource{s.digest()})
}

// checkedFile says which source apt has taken: its signature was right.
const checkedFile = "source-checked.json"

type checkedSource struct {
	Digest string `json:"digest"`
}

func (s Source) digest() string { return Digest(append(s.text(), s.keyText()...)) }

// sourceTroubles are what apt says of a source that it does not take.
var sourceTroubles = []struct {
	sign   *regexp.Regexp
	what   string
	remedy string
}{
	{regexp.MustCompile(`NO_PUBKEY|EXPKEYSIG|BADSIG|REVKEYSIG|The following signatures|Sub-process .*sqv`), "is not signed with the key that was given", "give the key that its owner publishes for it"},
	{regexp.MustCompile(`is not signed|does not have a Release file|no longer has a Release file|404 +Not Found`), "has no signed list of packages for this suite", "check url and suite"},
	{regexp.MustCompile(`doesn't have the component`), "lacks one of the components", "check components"},
	{regexp.MustCompile(`Release file .* (is expired|is not valid yet)`), "has a list that is not valid at this time", "check the machine's clock, then ask the source's owner"},
}

// explain says what apt did not like about a source.
func (s Source) explain(err error) error {
	output, _ := component.Detail(err)
	for _, t := range sourceTroubles {
		if err != nil && t.sign.MatchString(strings.Join(output, "\n")) {
			return &component.Failure{Err: fmt.Errorf("package source %s %s %s", s.URL, s.Suite, t.what), Output: output, Remedy: t.remedy}
		}
	}
	return err
}

// quoted are the characters that apt writes otherwise in names of lists.
var quoted = strings.NewReplacer("_", "%5f", "~", "%7e", "%", "%25", "/", "_")

// lists is the pattern of the files that apt keeps of a source.
func lists(address, suite string) string {
	_, below, _ := strings.Cut(strings.TrimSuffix(address, "/"), "://")
	name := quoted.Replace(below)
	if flat, is := strings.CutSuffix(suite, "/"); is {
		if flat = strings.TrimPrefix(flat, "."); flat != "" {
			name += "_" + quoted.Replace(strings.Trim(flat, "/"))
		}
	} else {
		name += "_dists_" + quoted.Replace(suite)
	}
	return filepath.Join(aptLists, name+"_*")
}

// listed reports whether apt has the list of the source.
func (s Source) listed() bool {
	files, _ := filepath.Glob(lists(s.URL, s.Suite))
	for _, f := range files {
		if strings.HasSuffix(f, "Release") {
			return true
		}
	}
	return false
}

var sourceLine = regexp.MustCompile(`(?m)^(URIs|Suites): (.+)$`)

// forgetLists removes what apt keeps of a source of ours; text is its file.
func forgetLists(text string) {
	given := map[string]string{}
	for _, m := range sourceLine.FindAllStringSubmatch(text, -1) {
		given[m[1]] = m[2]
	}
	if !sourceURL.MatchString(given["URIs"]) || given["Suites"] == "" {
		return
	}
	files, _ := filepath.Glob(lists(given["URIs"], given["Suites"]))
	for _, f := range files {
		_ = os.Remove(f) // apt does without
	}
}

// RemoveSource takes away a source, its key, and what apt keeps of it. It
// succeeds when it is not there.
func (p *Packages) RemoveSource(ctx context.Context, s Source) error {
	release, err := p.take(ctx)
	if err != nil {
		return err
	}
	defer release()
	if !sourceName.MatchString(s.Name) {
		return nil // such a one was never added
	}
	if rec, err := s.file().read(); err != nil {
		return err
	} else if rec != nil {
		if err := mayBegin(ctx); err != nil { // an update that was cut off would bring lists back
			return err
		}
		if text, err := os.ReadFile(s.file().Path); err == nil {
			forgetLists(string(text))
		}
	}
	return errors.Join(s.file().Restore(), s.keyFile().Restore(), RemoveFile(filepath.Join(s.WorkDir, checkedFile)))
}

// HasSource returns nil if the source and its key are as they were added.
func (p *Packages) HasSource(s Source) error {
	for _, f := range []struct {
		kept Kept
		text []byte
	}{{s.file(), s.text()}, {s.keyFile(), s.keyText()}} {
		if err := f.kept.CheckDigest(Digest(f.text), sourceOwned); err != nil {
			return err
		}
	}
	return nil
}
