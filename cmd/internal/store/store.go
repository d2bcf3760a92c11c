// Package store has the commands backup, restore and verify of the programs that keep a store.
//
//	cmd.AddCommand(store.Commands(store.Plane{Program: "meridian-zone", Files: zone.StoreFiles})...)
//
// A store that no process has open is read from its file. If one has, backup and verify ask that process, through its REST
// API; restore refuses.
package store

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/meridian-mesh/meridian/cmd/internal/config"
	"github.com/meridian-mesh/meridian/global"
	"github.com/meridian-mesh/meridian/resource"
)

// Plane is the program whose store it is.
type Plane struct {
	Program string // its name
	Files   files
}

// files is global.StoreFiles or zone.StoreFiles.
type files interface {
	Path(dataDir string) string
	Backup(dataDir, to string) (global.StoreReport, error)
	Receive(from io.Reader, to string) (global.StoreReport, error)
	Restore(backup, dataDir string, force bool) (global.StoreReport, error)
	Verify(file string) (global.StoreReport, error)
}

// options are the flags that the commands share.
type options struct {
	dataDir, httpAddr, token, file, output string
}

// Commands returns the commands of a plane.
func Commands(p Plane) []*cobra.Command { return []*cobra.Command{backup(p), restore(p), verify(p)} }

// command adds the shared flags to cmd; run gets them when they are read.
func command(cmd *cobra.Command, run func(cmd *cobra.Command, o options, args []string) (global.StoreReport, error)) *cobra.Command {
	var o options
	f := cmd.Flags()
	f.StringVar(&o.dataDir, "data-dir", "meridian-data", "directory of the store")
	f.StringVar(&o.httpAddr, "http-addr", "127.0.0.1:5681", "HOST:PORT of the REST API of the control plane, if one runs over the store")
	f.StringVar(&o.token, "token", "", "token of an administrator, for a control plane that runs (MERIDIAN_TOKEN); @FILE: what the file holds")
	f.StringVar(&o.file, "config", "", "YAML file of the control plane: data-dir and http-addr are taken from there")
	f.StringVarP(&o.output, "output", "o", "table", "table, json or yaml")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := config.LoadSome(f, o.file, os.LookupEnv, "data-dir", "http-addr", "token"); err != nil {
			return config.Usage(err)
		}
		if !slices.Contains([]string{"table", "json", "yaml"}, o.output) {
			return config.Usage(fmt.Errorf("--output %q: want table, json or yaml", o.output))
		}
		report, err := run(cmd, o, args)
		if err != nil {
			return err
		}
		return show(cmd.OutOrStdout(), report, o.output)
	}
	return cmd
}

func backup(p Plane) *cobra.Command {
	return command(&cobra.Command{
		Use:   "backup FILE",
		Short: "Copy the store to a new file",
		Long: "Copies the store of the data directory, as it is at one moment, to a new file. If " + p.Program + " runs over it, the copy\n" +
			"comes through its REST API, and it goes on serving. FILE appears when it is whole, verified and on disk.",
		Args: cobra.ExactArgs(1),
	}, func(cmd *cobra.Command, o options, args []string) (global.StoreReport, error) {
		report, err := p.Files.Backup(o.dataDir, args[0])
		if errors.Is(err, global.ErrStoreInUse) {
			return p.fetch(cmd, o, args[0])
		}
		return report, err
	})
}

func restore(p Plane) *cobra.Command {
	force := false
	cmd := &cobra.Command{
		Use:   "restore FILE",
		Short: "Make the store out of a backup",
		Long: "Makes the store of the data directory out of a backup, under a new epoch: peers that have seen more than the backup\n" +
			"notice, and are told everything. " + p.Program + " must not run over it. A store that is there is replaced with --force only.",
		Args: cobra.ExactArgs(1),
	}
	cmd.Flags().BoolVar(&force, "force", false, "replace the store that is there")
	return command(cmd, func(_ *cobra.Command, o options, args []string) (global.StoreReport, error) {
		report, err := p.Files.Restore(args[0], o.dataDir, force)
		if errors.Is(err, global.ErrStoreExists) {
			err = fmt.Errorf("%w; --force replaces it", err)
		}
		return report, err
	})
}

func verify(p Plane) *cobra.Command {
	return command(&cobra.Command{
		Use:   "verify [FILE]",
		Short: "Read a store or a backup from end to end",
		Long: "Reads a backup, or without FILE the store of the data directory: every page, every checksum, every record. Of a store that\n" +
			p.Program + " runs over it reads a backup, which it removes again.",
		Args: cobra.MaximumNArgs(1),
	}, func(cmd *cobra.Command, o options, args []string) (report global.StoreReport, err error) {
		if len(args) == 1 {
			return p.Files.Verify(args[0])
		}
		report, err = p.Files.Verify(p.Files.Path(o.dataDir))
		if !errors.Is(err, global.ErrStoreInUse) {
			return report, err
		}
		dir, err := os.MkdirTemp("", "meridian-verify-")
		if err != nil {
			return report, err
		}
		defer os.RemoveAll(dir)
		report, err = p.fetch(cmd, o, filepath.Join(dir, "backup"))
		report.File = p.Files.Path(o.dataDir)
		return report, err
	})
}

// fetch makes a backup of the running control plane.
func (p Plane) fetch(cmd *cobra.Command, o options, to string) (none global.StoreReport, _ error) {
	url := "http://" + local(o.httpAddr) + "/_backup"
	ask, err := http.NewRequestWithContext(cmd.Context(), http.MethodGet, url, nil)
	if err != nil {
		return none, config.Usage(fmt.Errorf("--http-addr %q: want HOST:PORT: %w", o.httpAddr, err))
	}
	token := o.token
	if file, ok := strings.CutPrefix(token, "@"); ok {
		data, err := os.ReadFile(file)
		if err != nil {
			return none, config.Usage(fmt.Errorf("--token: %w", err))
		}
		token = strings.TrimSpace(string(data))
	}
	if token != "" {
		ask.Header.Set("Authorization", "Bearer "+token)
	}
	answer, err := http.DefaultClient.Do(ask)
	if err != nil {
		return none, fmt.Errorf("a process has the store of %s open, and does not answer at --http-addr %s: %w", o.dataDir, o.httpAddr, err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		body, _ := io.ReadAll(io.LimitReader(answer.Body, 4<<10))
		return none, fmt.Errorf("GET %s: %s: %s", url, answer.Status, strings.Join(strings.Fields(string(body)), " "))
	}
	// Another control plane at that address would be a perfect backup of the wrong store.
	path := p.Files.Path(o.dataDir)
	if theirs := answer.Header.Get("Meridian-Store"); !same(theirs, path) {
		return none, fmt.Errorf("a process has %s open, but the control plane at --http-addr %s keeps %s", path, o.httpAddr, theirs)
	}
	return p.Files.Receive(answer.Body, to)
}

// local returns the address to which a listener on this machine answers.
func local(addr string) string {
	host, port, err := net.SplitHostPort(addr)
	if ip := net.ParseIP(host); err == nil && (host == "" || ip != nil && ip.IsUnspecified()) {
		return net.JoinHostPort("127.0.0.1", port)
	}
	return addr
}

func same(a, b string) bool {
	x, errA := os.Stat(a)
	y, errB := os.Stat(b)
	return errA == nil && errB == nil && os.SameFile(x, y)
}

func show(w io.Writer, r global.StoreReport, format string) error {
	switch format {
	case "json":
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return e.Encode(r)
	case "yaml":
		data, err := json.Marshal(r)
		if err != nil {
			return err
		}
		if data, err = resource.ToYAML(data); err != nil {
			return err
		}
		_, err = w.Write(data)
		return err
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "file\t%s\nof\t%s\nepoch\t%s\nrevision\t%d\nbytes\t%d\n", r.File, cmp.Or(r.Owner, "nobody yet"), r.Epoch, r.Revision, r.Bytes)
	total := 0
	for _, kind := range slices.Sorted(maps.Keys(r.Resources)) {
		fmt.Fprintf(t, "%s\t%d\n", kind, r.Resources[kind])
		total += r.Resources[kind]
	}
	fmt.Fprintf(t, "resources\t%d\ndeletes remembered\t%d\n", total, r.Deletes)
	return t.Flush()
}
