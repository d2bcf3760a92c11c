package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
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

// filesFlag adds -f, and returns where its values are: files, folders, and "-" for standard input.
func filesFlag(cmd *cobra.Command) *[]string {
	return cmd.Flags().StringArrayP("filename", "f", nil, "file, folder (read recursively) or - for standard input; may be repeated")
}

// source is one file or standard input, read whole.
type source struct {
	name string
	data []byte
}

// sources reads paths in order; a folder gives its files in name order.
func (c *cli) sources(paths []string) ([]source, error) {
	if len(paths) == 0 {
		return nil, usage("nothing to read: give a file, a folder or - with -f")
	}
	var all []source
	for _, path := range paths {
		if path == "-" {
			data, err := io.ReadAll(c.in)
			if err != nil {
				return nil, err
			}
			all = append(all, source{"<stdin>", data})
			continue
		}
		files, err := filesBelow(path)
		if err != nil {
			return nil, config.Usage(err)
		}
		for _, file := range files {
			data, err := os.ReadFile(file)
			if err != nil {
				return nil, config.Usage(err)
			}
			all = append(all, source{file, data})
		}
	}
	return all, nil
}

// filesBelow returns path itself, or the documents in the folder that it names. A folder without any is an error.
func filesBelow(path string) ([]string, error) {
	var files []string
	err := filepath.WalkDir(path, func(file string, entry fs.DirEntry, err error) error {
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
	if err == nil && len(files) == 0 {
		err = fmt.Errorf("%s: no file in it ends in %s", path, strings.Join(documentExtensions, ", "))
	}
	return files, err
}

// documents reads what -f names. It prints everything that is wrong with the bad documents, counts them, and returns
// the good ones. An error is about a source as a whole.
func (c *cli) documents(paths []string, o resource.ReadOptions) (docs []resource.Document, bad int, err error) {
	sources, err := c.sources(paths)
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
		joined, ok := errors.AsType[interface {
			error
			Unwrap() []error
		}](err)
		if !ok {
			return nil, 0, err
		}
		for _, e := range joined.Unwrap() {
			bad++
			fmt.Fprintln(c.err, e)
		}
	}
	return docs, bad, nil
}

// goodDocuments is documents for commands that do nothing if one is bad.
func (c *cli) goodDocuments(paths []string, o resource.ReadOptions) ([]resource.Document, error) {
	docs, bad, err := c.documents(paths, o)
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
