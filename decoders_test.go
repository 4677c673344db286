package aloft_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// decoding are the functions with which bytes become values. Whoever names one
// of them reads what somebody else may have written.
var decoding = []string{
	"encoding/json.Unmarshal", "encoding/json.NewDecoder", "encoding/xml.Unmarshal", "encoding/xml.NewDecoder",
	"encoding/gob.NewDecoder", "encoding/csv.NewReader", "encoding/pem.Decode", "encoding/asn1.Unmarshal",
	"encoding/binary.Read", "encoding/binary.Uvarint", "encoding/binary.ReadUvarint",
	"encoding/hex.DecodeString", "encoding/base64.DecodeString",
	"crypto/x509.ParseCertificate", "crypto/x509.ParseCertificates", "crypto/x509.ParseCertificateRequest",
	"crypto/x509.ParsePKCS8PrivateKey", "crypto/x509.ParseECPrivateKey", "crypto/x509.ParsePKIXPublicKey",
	"google.golang.org/protobuf/proto.Unmarshal", "google.golang.org/protobuf/encoding/protojson.Unmarshal",
	"go.yaml.in/yaml/v4.Unmarshal", "go.yaml.in/yaml/v4.Load", "go.yaml.in/yaml/v4.NewDecoder",
	"archive/tar.NewReader", "archive/zip.NewReader", "compress/gzip.NewReader",
	"net/http.ReadResponse", "net/http.ReadRequest", "bufio.NewScanner", "filippo.io/age.Decrypt",
}

// near is how many calls a decoder may be away from a fuzz target that has its
// input in hand. What is further down gets what others have let through.
const near = 4

// unfuzzed are the decoders without a fuzz target, each with its reason.
var unfuzzed = map[string]string{
	"client.Client.Exec":                  "net/http reads one answer of the daemon that was asked; what it says is for problem (FuzzProblem) and receive (FuzzReceive)",
	"internal/cli.app.yaml":               "turns into YAML the JSON that this process has just written",
	"internal/drivers/local/boot.Receive": "orders over a pipe from the daemon that made this process of the same program, its parent",
	"internal/drivers/sim.Cloud.Restore":  "a snapshot of the simulated cloud, which only tests take and give back",
	"internal/host/launch.Child.Become":   "the answer of a child of the same program, over a socket nobody else has; what it was asked is FuzzRequest's",
	"internal/peer.Enrolment.good":        "the certificate that identity has installed; Install is internal/identity.FuzzInstall's",
	"internal/peer.link.judge":            "of the simulated network: both ends are in this process; TLS does this over a real one",
	"internal/peer.link.handle":           "of the simulated network: what this process has just encoded",
	"internal/peer.simEnd.Invoke":         "of the simulated network: what this process has just encoded",
	"internal/peer.simStream.RecvMsg":     "of the simulated network: what this process has just encoded",
}

// declared is a function, method or variable of a package, tests included.
type declared struct {
	name    string   // "internal/journal.decode", "internal/store.table.Get"
	decodes []string // places where it names a decoding function
	fuzz    bool     // it is a fuzz target
	names   []string // what it calls, as declarations has it
}

// TestEveryDecoderHasAFuzzTarget follows each fuzz target by name, through its
// package and the functions of others that it calls, and reports what decodes
// and is not near one. It goes by syntax: where a package has several methods of
// one name, a call is of each.
func TestEveryDecoderHasAFuzzTarget(t *testing.T) {
	all, called := declarations(t)
	reached := map[*declared]bool{}
	var next []*declared
	for _, d := range all {
		if d.fuzz {
			next = append(next, d)
		}
	}
	for range near + 1 {
		level := next
		next = nil
		for _, d := range level {
			if reached[d] {
				continue
			}
			reached[d] = true
			for _, name := range d.names {
				next = append(next, called[name]...)
			}
		}
	}
	used := map[string]bool{}
	for _, d := range all {
		if len(d.decodes) == 0 || reached[d] {
			continue
		}
		if used[d.name] = true; unfuzzed[d.name] == "" {
			t.Errorf("%s (%s) decodes, and no fuzz target calls it: add one beside it, or say in unfuzzed why not",
				d.name, strings.Join(d.decodes, ", "))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(unfuzzed)) {
		if !used[name] {
			t.Errorf("unfuzzed says why %s has no fuzz target; it has one, or decodes nothing", name)
		}
	}
}

// declarations returns what the product's packages declare, and by which name
// each is called: "internal/journal .open" for a function or variable,
// "internal/journal open" for a method.
func declarations(t *testing.T) (all []*declared, called map[string][]*declared) {
	t.Helper()
	called = map[string][]*declared{}
	set := token.NewFileSet()
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (slices.Contains([]string{".git", "testdata", "node_modules"}, d.Name()) || path == "test" || path == "bench"):
			return fs.SkipDir // test and bench read what they have made themselves
		case d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, ".pb.go"):
			return nil
		}
		file, err := parser.ParseFile(set, path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		dir := filepath.Dir(path)
		imports := importsOf(file)
		for _, decl := range file.Decls {
			for name, node := range namesOf(decl) {
				one := &declared{name: dir + "." + strings.TrimPrefix(name, ".")}
				tests := strings.HasSuffix(path, "_test.go")
				if f, ok := node.(*ast.FuncDecl); ok {
					one.fuzz = tests && strings.HasPrefix(f.Name.Name, "Fuzz")
					if f.Recv != nil {
						one.name = dir + "." + receiver(f.Recv.List[0].Type) + "." + f.Name.Name
					}
				}
				ast.Inspect(node, func(n ast.Node) bool {
					switch n := n.(type) {
					case *ast.CallExpr:
						if sel, ok := n.Fun.(*ast.SelectorExpr); ok && imports[root(sel.X)] == "" {
							one.names = append(one.names, dir+" "+sel.Sel.Name)
						}
					case *ast.SelectorExpr:
						from, full := imports[root(n.X)], imports[root(n.X)]+"."+n.Sel.Name
						switch {
						case from == "":
						case !slices.Contains(decoding, full):
							one.names = append(one.names, strings.TrimPrefix(from, module)+" ."+n.Sel.Name)
						case !tests:
							one.decodes = append(one.decodes, set.Position(n.Pos()).String())
						case full == "encoding/json.Unmarshal":
							one.names = append(one.names, dir+" UnmarshalJSON") // that calls them
						}
					case *ast.Ident:
						one.names = append(one.names, dir+" ."+n.Name)
					}
					return true
				})
				all = append(all, one)
				called[dir+" "+name] = append(called[dir+" "+name], one)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all, called
}

// importsOf returns the import path of each name by which file knows a package.
func importsOf(file *ast.File) map[string]string {
	paths := map[string]string{}
	for _, imp := range file.Imports {
		path := strings.Trim(imp.Path.Value, `"`)
		name := filepath.Base(strings.TrimSuffix(path, "/v4"))
		if imp.Name != nil {
			name = imp.Name.Name
		}
		paths[name] = path
	}
	return paths
}

// namesOf returns what decl declares: ".f" for functions and variables, "m" for methods.
func namesOf(decl ast.Decl) map[string]ast.Node {
	switch d := decl.(type) {
	case *ast.FuncDecl:
		if d.Recv != nil {
			return map[string]ast.Node{d.Name.Name: d}
		}
		return map[string]ast.Node{"." + d.Name.Name: d}
	case *ast.GenDecl:
		vars := map[string]ast.Node{}
		for _, spec := range d.Specs {
			if v, ok := spec.(*ast.ValueSpec); ok {
				for _, name := range v.Names {
					vars["."+name.Name] = v
				}
			}
		}
		return vars
	}
	return nil
}

// root returns the first name of x: "base64" of base64.RawURLEncoding.
func root(x ast.Expr) string {
	switch x := x.(type) {
	case *ast.Ident:
		return x.Name
	case *ast.SelectorExpr:
		return root(x.X)
	}
	return ""
}

// receiver returns the name of a method's type, without pointer and parameters.
func receiver(x ast.Expr) string {
	switch x := x.(type) {
	case *ast.StarExpr:
		return receiver(x.X)
	case *ast.IndexExpr:
		return receiver(x.X)
	case *ast.IndexListExpr:
		return receiver(x.X)
	case *ast.Ident:
		return x.Name
	}
	return ""
}
