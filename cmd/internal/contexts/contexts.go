package contexts

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"go.yaml.in/yaml/v3"

	"github.com/meridian-mesh/meridian/resource"
)

// Variable names the file in place of the usual one.
const Variable = "MERIDIAN_CONTEXTS"

// Context is where a control plane is, and how to be let in there.
type Context struct {
	Address       string `yaml:"address" json:"address"`
	Token         string `yaml:"token,omitempty" json:"-"` // as --token: @FILE is what the file holds
	TLSCA         string `yaml:"tls-ca,omitempty" json:"tlsCA,omitempty"`
	TLSSkipVerify bool   `yaml:"tls-skip-verify,omitempty" json:"tlsSkipVerify,omitempty"`
	Process       int    `yaml:"process,omitempty" json:"process,omitempty"` // it is there for as long as this process runs; 0: until it is removed
}

// List is all contexts.
type List struct {
	Current  string             `yaml:"current,omitempty" json:"current"` // "": none
	Contexts map[string]Context `yaml:"contexts,omitempty" json:"contexts"`
}

// Path returns where the file is: what Variable says, or meridian/contexts.yaml in the folder for configuration of the user.
func Path(lookupEnv func(string) (string, bool)) (string, error) {
	if file, ok := lookupEnv(Variable); ok && file != "" {
		return file, nil
	}
	dir, err := os.UserConfigDir()
	if err != nil {
		return "", fmt.Errorf("no folder for contexts.yaml, set %s: %w", Variable, err)
	}
	return filepath.Join(dir, "meridian", "contexts.yaml"), nil
}

// Read returns the list of a file, an empty one if there is no file, without contexts of processes that have ended.
func Read(file string) (*List, error) {
	l := &List{Contexts: map[string]Context{}}
	data, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return l, nil
	}
	if err != nil {
		return nil, err
	}
	in := yaml.NewDecoder(bytes.NewReader(data))
	in.KnownFields(true)
	if err := in.Decode(l); err != nil && len(bytes.TrimSpace(data)) > 0 {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	maps.DeleteFunc(l.Contexts, func(_ string, c Context) bool { return c.Process > 0 && !runs(c.Process) })
	if _, ok := l.Contexts[l.Current]; !ok {
		l.Current = ""
	}
	return l, nil
}

// runs says whether there is such a process, be it somebody else's.
func runs(process int) bool {
	err := syscall.Kill(process, 0)
	return err == nil || errors.Is(err, syscall.EPERM)
}

// Change reads the list of a file, has fn change it, and writes it, unless fn returns an error.
func Change(file string, fn func(*List) error) error {
	dir := filepath.Dir(file)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	lock, err := os.OpenFile(file+".lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	defer lock.Close() // and with it the lock
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return fmt.Errorf("lock %s: %w", lock.Name(), err)
	}
	l, err := Read(file)
	if err != nil {
		return err
	}
	if err := fn(l); err != nil {
		return err
	}
	data, err := yaml.Marshal(l)
	if err != nil {
		return err
	}
	temp, err := os.CreateTemp(dir, ".contexts-") // for its owner only
	if err != nil {
		return err
	}
	_, err = temp.Write(data)
	if err = errors.Join(err, temp.Close()); err == nil {
		err = os.Rename(temp.Name(), file)
	}
	if err != nil {
		return errors.Join(err, os.Remove(temp.Name()))
	}
	return nil
}

// Put adds a context, or replaces it.
func (l *List) Put(name string, c Context) error {
	if name == "" || strings.ContainsAny(name, " \t\n") {
		return fmt.Errorf("%q is no name of a context: want one word", name)
	}
	l.Contexts[name] = c
	return nil
}

// Remove removes a context. The error is as of Find, which names one exactly here.
func (l *List) Remove(name string) error {
	if _, ok := l.Contexts[name]; !ok {
		return l.unknown(name)
	}
	delete(l.Contexts, name)
	if l.Current == name {
		l.Current = ""
	}
	return nil
}

// Find returns the context that a word names: by its name; or by the last part of it, if it is the only one of the federation of the current
// context, or else the only one at all.
//
// Errors: that there is none, with the nearest, or that there are several.
func (l *List) Find(word string) (name string, c Context, err error) {
	if c, ok := l.Contexts[word]; ok {
		return word, c, nil
	}
	if federation, _, ok := cutLast(l.Current); ok {
		if c, ok := l.Contexts[federation+"/"+word]; ok {
			return federation + "/" + word, c, nil
		}
	}
	var found []string
	for _, name := range l.Names() {
		if _, last, ok := cutLast(name); ok && last == word {
			found = append(found, name)
		}
	}
	switch len(found) {
	case 0:
		return "", c, l.unknown(word)
	case 1:
		return found[0], l.Contexts[found[0]], nil
	}
	return "", c, fmt.Errorf("%q may be one of the contexts %s", word, strings.Join(found, ", "))
}

// Names returns the names, ascending.
func (l *List) Names() []string { return slices.Sorted(maps.Keys(l.Contexts)) }

func cutLast(name string) (before, last string, ok bool) {
	i := strings.LastIndexByte(name, '/')
	if i < 0 {
		return "", name, false
	}
	return name[:i], name[i+1:], true
}

func (l *List) unknown(word string) error {
	names := l.Names()
	for _, name := range l.Names() {
		if _, last, ok := cutLast(name); ok {
			names = append(names, last)
		}
	}
	if near := resource.Nearest(word, names); near != "" {
		return fmt.Errorf("there is no context %q; did you mean %s?", word, near)
	}
	if len(l.Contexts) == 0 {
		return fmt.Errorf("there is no context %q, and no other", word)
	}
	return fmt.Errorf("there is no context %q; known: %s", word, strings.Join(l.Names(), ", "))
}
