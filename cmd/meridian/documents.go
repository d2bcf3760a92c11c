package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/meridian-mesh/meridian/cmd/internal/config"
	"github.com/meridian-mesh/meridian/policy"
	"github.com/meridian-mesh/meridian/resource"
)

var documentExtensions = []string{".yaml", ".yml", ".json"}

// filesFlag adds -f, and returns where its values are: files, folders, addresses, and "-" for standard input.
func filesFlag(cmd *cobra.Command) *[]string {
	return cmd.Flags().StringArrayP("filename", "f", nil, "file, folder (read recursively), http(s):// address or - for standard input; may be repeated")
}

// source is one file, the answer of one address, or standard input, read whole.
type source struct {
	name string
	data []byte
}

// sources reads paths in order; a folder gives its files in name order.
func (c *cli) sources(ctx context.Context, paths []string) ([]source, error) {
	files, err := filesOf(paths)
	if err != nil {
		return nil, err
	}
	all := make([]source, len(files))
	for i, file := range files {
		if all[i], err = c.source(ctx, file); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// filesOf returns the files that -f names, in order: "-" and addresses stay, and a folder gives its files in name order.
func filesOf(paths []string) ([]string, error) {
	if len(paths) == 0 {
		return nil, usage("nothing to read: give a file, a folder, an address or - with -f")
	}
	var all []string
	for _, path := range paths {
		files := []string{path}
		if path != "-" && !isAddress(path) {
			var err error
			if files, err = filesBelow(path); err != nil {
				return nil, config.Usage(err)
			}
		}
		all = append(all, files...)
	}
	return all, nil
}

// source reads one of filesOf.
func (c *cli) source(ctx context.Context, file string) (source, error) {
	if file == "-" {
		data, err := io.ReadAll(c.in)
		return source{"<stdin>", data}, err
	}
	if isAddress(file) {
		data, err := fetch(ctx, file)
		return source{file, data}, err
	}
	data, err := os.ReadFile(file)
	return source{file, data}, config.Usage(err)
}

func isAddress(path string) bool {
	return strings.HasPrefix(path, "http://") || strings.HasPrefix(path, "https://")
}

// maxFetched is how much of what an address answers is read: more than any collection of policies that people write.
const maxFetched = 64 << 20

// fetch returns what an address answers.
func fetch(ctx context.Context, address string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, config.Usage(err)
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("GET %s: %s", address, answer.Status)
	}
	data, err := io.ReadAll(io.LimitReader(answer.Body, maxFetched+1))
	if err == nil && len(data) > maxFetched {
		err = fmt.Errorf("GET %s: more than %d bytes", address, maxFetched)
	}
	return data, err
}

// filesBelow returns path itself, or the documents in the folder that it names. A folder without any is an error.
func filesBelow(path string) ([]string, error) {
	files, err := documentsBelow(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: there is no such file or folder", path)
	}
	if err == nil && len(files) == 0 {
		err = fmt.Errorf("%s: no file in it ends in %s", path, strings.Join(documentExtensions, ", "))
	}
	return files, err
}

// documentsBelow is filesBelow for a folder that may be empty. Errors: fs.ErrNotExist.
func documentsBelow(path string) (files []string, err error) {
	err = filepath.WalkDir(path, func(file string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir():
			return nil
		case file == path || slices.Contains(documentExtensions, strings.ToLower(filepath.Ext(file))):
			files = append(files, file)
		}
		return nil
	})
	return files, err
}

// documents reads what -f names. It prints everything that is wrong with the bad documents, counts them, and returns
// the good ones. An error is about a source as a whole.
func (c *cli) documents(ctx context.Context, paths []string, o resource.ReadOptions) (docs []resource.Document, bad int, err error) {
	sources, err := c.sources(ctx, paths)
	if err != nil {
		return nil, 0, err
	}
	schemas := policy.Schemas()
	for _, s := range sources {
		read, err := schemas.Read(s.name, s.data, o)
		docs = append(docs, read...)
		if err == nil {
			continue
		}
		invalid, err := eachInvalid(err)
		if err != nil {
			return nil, 0, err
		}
		for _, e := range invalid {
			bad++
			fmt.Fprintln(c.err, e)
		}
	}
	return docs, bad, nil
}

// eachInvalid returns the errors about single documents that Schemas.Read has joined; err is what else went wrong.
func eachInvalid(read error) (invalid []*resource.InvalidError, err error) {
	joined, ok := read.(interface{ Unwrap() []error })
	if !ok {
		return nil, read
	}
	for _, e := range joined.Unwrap() {
		one, ok := errors.AsType[*resource.InvalidError](e)
		if !ok {
			return nil, e
		}
		invalid = append(invalid, one)
	}
	return invalid, nil
}

// goodDocuments is documents for commands that do nothing if one is bad.
func (c *cli) goodDocuments(ctx context.Context, paths []string, o resource.ReadOptions) ([]resource.Document, error) {
	docs, bad, err := c.documents(ctx, paths, o)
	if bad > 0 {
		err = badDocuments(bad)
	}
	return docs, err
}

// noDocuments is the error of a command that was given nothing to do.
func noDocuments(paths []string) error { return usage("no document in %s", strings.Join(paths, ", ")) }

// badDocuments is the error that ends a command when what is wrong with n documents has been told.
func badDocuments(n int) error {
	return usage("%s, nothing was done", plural(n, "bad document", "bad documents"))
}
