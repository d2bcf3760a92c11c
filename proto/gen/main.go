// Gen writes the Go code of every .proto file below proto. Run it from the root of the repository:
//
//	go run ./proto/gen          write
//	go run ./proto/gen -check   write nothing; name the files that are not current and exit 1
//
// It needs no protoc: protocompile reads our files, the files they import come from the Go packages linked in below,
// and the plugins are the tools that go.mod pins. The output depends on nothing else.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/bufbuild/protocompile"
	"github.com/bufbuild/protocompile/protoutil"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/pluginpb"

	_ "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3" // and through it everything our files import
)

const (
	root   = "proto"
	module = "github.com/meridian-mesh/meridian"
)

var plugins = []string{"protoc-gen-go", "protoc-gen-go-grpc"}

func main() {
	check := flag.Bool("check", false, "write nothing; name the files that are not current and exit 1")
	flag.Parse()
	if err := run(context.Background(), *check); err != nil {
		fmt.Fprintln(os.Stderr, "proto/gen:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, check bool) error {
	want, err := generate(ctx)
	if err != nil {
		return err
	}
	return settle(root, want, check)
}

// settle makes the generated files below dir those of want, by path: it writes what is missing or differs and removes
// what is not wanted. With check it changes nothing, and returns one error for each file it would have changed.
func settle(dir string, want map[string][]byte, check bool) error {
	have, err := find(dir, ".pb.go")
	if err != nil {
		return err
	}
	paths := slices.Concat(have, slices.Collect(maps.Keys(want)))
	slices.Sort(paths)

	var stale []error
	for _, path := range slices.Compact(paths) {
		old, err := os.ReadFile(path)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		content, wanted := want[path]
		switch {
		case wanted && err == nil && bytes.Equal(old, content):
		case check && wanted:
			stale = append(stale, fmt.Errorf("%s is not current: run make proto", path))
		case check:
			stale = append(stale, fmt.Errorf("%s comes from no .proto file: run make proto", path))
		case wanted:
			if err := write(path, content); err != nil {
				return err
			}
		default:
			if err := os.Remove(path); err != nil {
				return err
			}
		}
	}
	return errors.Join(stale...)
}

// generate returns the content of each generated file by its path from the root of the repository.
func generate(ctx context.Context) (map[string][]byte, error) {
	sources, err := find(root, ".proto")
	if err != nil {
		return nil, err
	}
	if len(sources) == 0 {
		return nil, fmt.Errorf("no .proto file below %s: run from the root of the repository", root)
	}
	request := &pluginpb.CodeGeneratorRequest{Parameter: proto.String("module=" + module)}
	for _, path := range sources {
		request.FileToGenerate = append(request.FileToGenerate, strings.TrimPrefix(filepath.ToSlash(path), root+"/"))
	}
	compiler := protocompile.Compiler{
		Resolver: protocompile.CompositeResolver{
			&protocompile.SourceResolver{ImportPaths: []string{root}},
			protocompile.ResolverFunc(func(path string) (protocompile.SearchResult, error) {
				fd, err := protoregistry.GlobalFiles.FindFileByPath(path)
				return protocompile.SearchResult{Desc: fd}, err
			}),
		},
		SourceInfoMode: protocompile.SourceInfoStandard, // comments become those of the Go code
	}
	files, err := compiler.Compile(ctx, request.FileToGenerate...)
	if err != nil {
		return nil, err
	}
	// Plugins expect a file after all those it imports.
	seen := map[string]bool{}
	var add func(protoreflect.FileDescriptor)
	add = func(fd protoreflect.FileDescriptor) {
		if seen[fd.Path()] {
			return
		}
		seen[fd.Path()] = true
		for i := range fd.Imports().Len() {
			add(fd.Imports().Get(i).FileDescriptor)
		}
		request.ProtoFile = append(request.ProtoFile, protoutil.ProtoFromFileDescriptor(fd))
	}
	for _, fd := range files {
		add(fd)
	}

	out := map[string][]byte{}
	for _, plugin := range plugins {
		response, err := invoke(ctx, plugin, request)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", plugin, err)
		}
		for _, f := range response.File {
			out[filepath.FromSlash(f.GetName())] = []byte(f.GetContent())
		}
	}
	return out, nil
}

// invoke runs one plugin of protoc: a request on its standard input, a response on its standard output.
func invoke(
	ctx context.Context, plugin string, request *pluginpb.CodeGeneratorRequest,
) (*pluginpb.CodeGeneratorResponse, error) {
	in, err := proto.Marshal(request)
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, "go", "tool", plugin)
	cmd.Stdin = bytes.NewReader(in)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, err
	}
	response := &pluginpb.CodeGeneratorResponse{}
	if err := proto.Unmarshal(out, response); err != nil {
		return nil, err
	}
	if response.Error != nil {
		return nil, errors.New(response.GetError())
	}
	return response, nil
}

// find returns the files below dir whose names end in suffix, sorted.
func find(dir, suffix string) ([]string, error) {
	var paths []string
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() && strings.HasSuffix(path, suffix) {
			paths = append(paths, path)
		}
		return err
	})
	return paths, err
}

func write(path string, content []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, content, 0o644)
}
