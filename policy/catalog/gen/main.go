// Gen writes what is made of the doc comments and examples of the kinds. Run it from the root of the repository:
//
//	go run ./policy/catalog/gen          write
//	go run ./policy/catalog/gen -check   write nothing; name the files that are not current and exit 1
//
// It writes policy/catalog/generated.go (comments and examples, for the programs), docs/schemas (JSON Schema) and
// docs/reference/types (one page for each kind).
package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"go/ast"
	"go/format"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/meridian-mesh/meridian/policy"
	"github.com/meridian-mesh/meridian/policy/catalog"
	"github.com/meridian-mesh/meridian/resource"
)

const (
	sourceFile = "policy/catalog/generated.go"
	schemaDir  = "docs/schemas"

	otherSchema = "scenario.json" // in it, and kept current by the tests of package sim
	pageDir     = "docs/reference/types"
)

var (
	packages = []string{"policy", "resource", "proto/mesh/v1alpha1", "proto/system/v1alpha1"}
	examples = []string{"policy/testdata/examples", "resource/testdata/examples"}
)

func main() {
	check := flag.Bool("check", false, "write nothing; name the files that are not current and exit 1")
	flag.Parse()
	if err := run(".", *check); err != nil {
		fmt.Fprintln(os.Stderr, "policy/catalog/gen:", err)
		os.Exit(1)
	}
}

// run brings the generated files below root up to date. With check it changes nothing, and returns one error for each
// file that it would have changed.
func run(root string, check bool) error {
	want, err := generate(root)
	if err != nil {
		return err
	}
	var have []string
	for _, dir := range []string{schemaDir, pageDir} {
		entries, err := os.ReadDir(filepath.Join(root, dir))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		for _, e := range entries {
			if e.Name() != otherSchema {
				have = append(have, dir+"/"+e.Name())
			}
		}
	}
	var stale []error
	for _, name := range slices.Compact(slices.Sorted(slices.Values(slices.Concat(have, slices.Collect(maps.Keys(want)))))) {
		file := filepath.Join(root, name)
		old, err := os.ReadFile(file)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		content, wanted := want[name]
		switch {
		case wanted && err == nil && bytes.Equal(old, content):
		case check:
			stale = append(stale, fmt.Errorf("%s is not current: run make docs", name))
		case !wanted:
			if err := os.Remove(file); err != nil {
				return err
			}
		default:
			if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
				return err
			}
			if err := os.WriteFile(file, content, 0o644); err != nil {
				return err
			}
		}
	}
	return errors.Join(stale...)
}

// generate returns the content of each generated file by its path from root.
func generate(root string) (map[string][]byte, error) {
	src := catalog.Sources{Comments: map[string]string{}, Examples: map[string]string{}}
	all := map[string]string{}
	for _, pkg := range packages {
		if err := comments(filepath.Join(root, pkg), pkg, all); err != nil {
			return nil, err
		}
	}
	for _, key := range used() {
		if text := all[key]; text != "" {
			src.Comments[key] = text
		}
	}
	if len(src.Comments) == 0 {
		return nil, errors.New("no comment was found: run from the root of the repository")
	}
	for _, dir := range examples {
		files, err := filepath.Glob(filepath.Join(root, dir, "*.yaml"))
		if err != nil {
			return nil, err
		}
		for _, file := range files {
			data, err := os.ReadFile(file)
			if err != nil {
				return nil, err
			}
			src.Examples[strings.TrimSuffix(filepath.Base(file), ".yaml")] = string(data)
		}
	}
	code, err := sourceCode(src)
	if err != nil {
		return nil, err
	}
	files := map[string][]byte{
		sourceFile:                   code,
		schemaDir + "/meridian.json": src.Index(),
		pageDir + "/README.md":       src.PageIndex(),
	}
	for _, k := range src.All() {
		files[schemaDir+"/"+k.Kind+".json"] = k.Schema()
		if k.HasPage() {
			files[pageDir+"/"+k.PageName()] = k.Page()
		}
	}
	return files, nil
}

// used returns the keys of the comments that describe something: all that the fields of the kinds lead to.
func used() []string {
	keys := map[string]bool{}
	inside := map[resource.GoName]bool{} // the types around the field: one of them again is recursion
	var add func(f resource.FieldInfo)
	add = func(f resource.FieldInfo) {
		keys[catalog.Key(f.Declared)], keys[catalog.Key(f.Of)] = true, true
		if f.Of.Package != "" {
			if inside[f.Of] {
				return
			}
			inside[f.Of] = true
			defer delete(inside, f.Of)
		}
		for _, inner := range f.Fields() {
			add(inner)
		}
		if elem, ok := f.Elem(); ok {
			add(elem)
		}
	}
	schemas := policy.Schemas()
	for kind := range schemas {
		if info, ok := schemas.Fields(kind); ok {
			keys[catalog.Key(info.Of)] = true
			for _, f := range info.Fields() {
				add(f)
			}
		}
	}
	return slices.Sorted(maps.Keys(keys))
}

// comments adds the doc comments of the struct types of a package, and of their fields.
func comments(dir, pkg string, into map[string]string) error {
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		return err
	}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		for _, decl := range parsed.Decls {
			gen, ok := decl.(*ast.GenDecl)
			if !ok {
				continue
			}
			for _, spec := range gen.Specs {
				t, ok := spec.(*ast.TypeSpec)
				if !ok {
					continue
				}
				key := pkg + "." + t.Name.Name
				into[key] = text(t.Doc, gen.Doc, t.Comment)
				st, ok := t.Type.(*ast.StructType)
				if !ok {
					continue
				}
				for _, f := range st.Fields.List {
					for _, name := range f.Names {
						into[key+"."+name.Name] = text(f.Doc, f.Comment)
					}
				}
			}
		}
	}
	return nil
}

// text returns the first comment that says something, without what is for Go's tools.
func text(groups ...*ast.CommentGroup) string {
	for _, g := range groups {
		lines := strings.Split(strings.TrimSpace(g.Text()), "\n")
		// protoc-gen-go ends the comment of a deprecated field with a line of its own.
		lines = slices.DeleteFunc(lines, func(line string) bool { return strings.HasPrefix(line, "Deprecated: Marked as deprecated in ") })
		if s := strings.TrimSpace(strings.Join(lines, "\n")); s != "" {
			return s
		}
	}
	return ""
}

func sourceCode(src catalog.Sources) ([]byte, error) {
	var b bytes.Buffer
	b.WriteString("// Code generated by policy/catalog/gen. DO NOT EDIT.\n\npackage catalog\n\nvar generated = Sources{\n")
	for _, table := range []struct {
		name string
		rows map[string]string
	}{{"Comments", src.Comments}, {"Examples", src.Examples}} {
		fmt.Fprintf(&b, "%s: map[string]string{\n", table.name)
		for _, key := range slices.Sorted(maps.Keys(table.rows)) {
			fmt.Fprintf(&b, "%q: %s,\n", key, literal(table.rows[key]))
		}
		b.WriteString("},\n")
	}
	b.WriteString("}\n")
	return format.Source(b.Bytes())
}

func literal(s string) string {
	if strings.Contains(s, "\n") && strconv.CanBackquote(strings.ReplaceAll(s, "\n", "")) {
		return "`" + s + "`"
	}
	return strconv.Quote(s)
}
