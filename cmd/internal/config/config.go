// Package config fills the flags of a command from where a person may have set them: the command line, the
// environment, a file. A flag --data-dir is also the variable MERIDIAN_DATA_DIR and the key data-dir of the YAML file;
// the command line beats the environment, the environment beats the file, the file beats the default.
//
//	file := cmd.Flags().String("config", "", config.FileUsage)
//	…
//	if err := config.Load(cmd.Flags(), *file, os.LookupEnv); err != nil {
//		return err // names the variable, or the file and line, and what is allowed
//	}
//
// What the values mean, and whether they fit together, is the business of the Config that they are copied to.
package config

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/hashicorp/go-hclog"
	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v3"

	"github.com/meridian-mesh/meridian/resource"
)

// Version is the version of the program, set by the linker.
var Version = "dev"

// FileUsage describes the flag --config.
const FileUsage = "YAML file with any of these flags as keys"

// commandLineOnly are flags that make no sense in the environment or in a file.
var commandLineOnly = []string{"config", "help", "version"}

// Load sets every flag that the command line did not set and the environment or the file does. The file at path
// ("": none) is one YAML mapping from flag names to scalars; a list sets a flag that takes several values. An empty
// variable counts as not set, as in most shells' ${X:-default}.
//
// The error joins everything that is wrong, naming the variable, or the file and the line: an unknown key (with the
// nearest known one), a key given twice, a value that its flag refuses.
func Load(flags *pflag.FlagSet, path string, lookupEnv func(string) (string, bool)) error {
	fromFile, errs := readFile(flags, path)
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Changed || slices.Contains(commandLineOnly, f.Name) {
			return
		}
		if value, ok := lookupEnv(Env(f.Name)); ok && value != "" {
			if err := flags.Set(f.Name, value); err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", Env(f.Name), err))
			}
			return
		}
		if entry, ok := fromFile[f.Name]; ok {
			if err := set(flags, f.Name, entry); err != nil {
				errs = append(errs, fmt.Errorf("%s:%d: %w", path, entry.Line, err))
			}
		}
	})
	return errors.Join(errs...)
}

// LoadSome is Load of the named flags only; the file may have other keys.
func LoadSome(flags *pflag.FlagSet, path string, lookupEnv func(string) (string, bool), names ...string) error {
	some := pflag.NewFlagSet("", pflag.ContinueOnError)
	flags.VisitAll(func(f *pflag.Flag) {
		if slices.Contains(names, f.Name) {
			some.AddFlag(f)
		}
	})
	if path == "" {
		return Load(some, "", lookupEnv)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var all map[string]yaml.Node
	if err := yaml.Unmarshal(data, &all); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	var errs []error
	some.VisitAll(func(f *pflag.Flag) {
		entry, ok := all[f.Name]
		if value, set := lookupEnv(Env(f.Name)); f.Changed || !ok || set && value != "" {
			return
		}
		if err := set(some, f.Name, &entry); err != nil {
			errs = append(errs, fmt.Errorf("%s:%d: %w", path, entry.Line, err))
		}
	})
	return errors.Join(append(errs, Load(some, "", lookupEnv))...)
}

// Env returns the name of the variable that sets the flag: MERIDIAN_DATA_DIR for data-dir.
func Env(flag string) string {
	return "MERIDIAN_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// set gives the flag the values of one entry of the file.
func set(flags *pflag.FlagSet, name string, entry *yaml.Node) error {
	switch entry.Kind {
	case yaml.ScalarNode:
		return flags.Set(name, entry.Value)
	case yaml.SequenceNode:
		if _, ok := flags.Lookup(name).Value.(pflag.SliceValue); !ok {
			return fmt.Errorf("%s takes one value, not a list", name)
		}
		for _, item := range entry.Content {
			if item.Kind != yaml.ScalarNode {
				return fmt.Errorf("%s: line %d is not a plain value", name, item.Line)
			}
			if err := flags.Set(name, item.Value); err != nil {
				return err
			}
		}
		return nil
	default:
		return fmt.Errorf("%s takes a plain value, not a mapping", name)
	}
}

// readFile returns the values of the file by flag name, and what is wrong with its keys.
func readFile(flags *pflag.FlagSet, path string) (map[string]*yaml.Node, []error) {
	if path == "" {
		return nil, nil
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, []error{err}
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(data, &doc); err != nil {
		return nil, []error{fmt.Errorf("%s: %w", path, err)}
	}
	if doc.Kind == 0 { // an empty file
		return nil, nil
	}
	root := doc.Content[0]
	if root.Kind != yaml.MappingNode {
		return nil, []error{fmt.Errorf("%s:%d: want a mapping from flag names to values", path, root.Line)}
	}
	var known []string
	flags.VisitAll(func(f *pflag.Flag) {
		if !slices.Contains(commandLineOnly, f.Name) {
			known = append(known, f.Name)
		}
	})
	values, errs := map[string]*yaml.Node{}, []error(nil)
	for i := 0; i+1 < len(root.Content); i += 2 {
		key, value := root.Content[i], root.Content[i+1]
		switch _, twice := values[key.Value]; {
		case twice:
			errs = append(errs, fmt.Errorf("%s:%d: %s is given twice", path, key.Line, key.Value))
		case !slices.Contains(known, key.Value):
			err := fmt.Errorf("%s:%d: unknown key %q", path, key.Line, key.Value)
			if near := resource.Nearest(key.Value, known); near != "" {
				err = fmt.Errorf("%w; did you mean %q?", err, near)
			}
			errs = append(errs, err)
		case value.Kind == yaml.ScalarNode && value.Tag == "!!null":
			// "key:" without a value leaves the default.
		default:
			values[key.Value] = value
		}
	}
	return values, errs
}

// Logger returns the program's logger. level is one of trace, debug, info, warn, error, off; format is text or json.
func Logger(w io.Writer, name, level, format string) (hclog.Logger, error) {
	l := hclog.LevelFromString(level)
	if l == hclog.NoLevel {
		return nil, fmt.Errorf("--log-level %q: want trace, debug, info, warn, error or off", level)
	}
	if format != "text" && format != "json" {
		return nil, fmt.Errorf("--log-format %q: want text or json", format)
	}
	return hclog.New(&hclog.LoggerOptions{Name: name, Level: l, Output: w, JSONFormat: format == "json"}), nil
}
