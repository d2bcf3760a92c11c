// Command meridian-zone is the control plane of one zone: it connects to the global control plane, stores what concerns
// the zone, and answers what is in force on each of its proxies. Without --global it stands alone.
//
// When it is ready it prints one line on standard output; global= is left out when it stands alone:
//
//	meridian-zone ready zone=east api=http://127.0.0.1:5681 global=grpcs://10.0.0.1:5685 data=meridian-data
//
// Ready does not wait for the global control plane: a zone serves without it. It stops on SIGINT and SIGTERM, within
// five seconds. Exit codes: 0 stopped as asked, 1 failed, 2 wrong usage.
// Flags, variables and the configuration file: docs/reference/configuration.md.
package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/meridian-mesh/meridian/cmd/internal/config"
	"github.com/meridian-mesh/meridian/cmd/internal/store"
	"github.com/meridian-mesh/meridian/zone"
)

func main() { config.Main(command()) }

func command() *cobra.Command {
	var c zone.Config
	var file, level, format string
	cmd := &cobra.Command{
		Use:     "meridian-zone",
		Short:   "Run the control plane of a zone",
		Version: config.Version,
		Args:    cobra.NoArgs,
	}
	f := cmd.Flags()
	f.StringVar(&c.Name, "name", "", "name of the zone (required): a DNS label, the same for ever")
	f.StringVar(&c.Global, "global", "", "grpcs://HOST:PORT of the global control plane, or grpc://HOST:PORT in plain text (default: stand alone)")
	f.StringVar(&c.DataDir, "data-dir", "meridian-data", "directory of the store; made if missing")
	f.StringVar(&c.HTTPAddr, "http-addr", "127.0.0.1:5681", "HOST:PORT of the REST API; port 0: any free one")
	f.StringVar(&c.TLSCA, "tls-ca", "", "PEM file with the certificates that the global control plane may show (default: the system's)")
	f.BoolVar(&c.TLSSkipVerify, "tls-skip-verify", false, "accept any certificate of the global control plane")
	f.Int64Var(&c.MaxDocumentBytes, "max-document-bytes", 0, "largest document that may be written (default 1 MiB)")
	f.StringVar(&file, "config", "", config.FileUsage)
	f.StringVar(&level, "log-level", "info", "trace, debug, info, warn, error or off")
	f.StringVar(&format, "log-format", "text", "text or json, on standard error")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := config.Load(f, file, os.LookupEnv); err != nil {
			return config.Usage(err)
		}
		log, err := config.Logger(cmd.ErrOrStderr(), "zone", level, format)
		if err != nil {
			return config.Usage(err)
		}
		c.Log, c.Version = log, config.Version
		if err := c.Validate(); err != nil {
			return config.Usage(err)
		}
		z, err := zone.Open(c)
		if err != nil {
			return err
		}
		defer z.Close()
		link := ""
		if c.Global != "" {
			link = " global=" + c.Global
		}
		// The listener is open: whoever connects from here on is served.
		fmt.Fprintf(cmd.OutOrStdout(), "meridian-zone ready zone=%s api=%s%s data=%s\n", c.Name, z.URL(), link, c.DataDir)
		return z.Run(cmd.Context())
	}
	cmd.AddCommand(store.Commands(store.Plane{Program: "meridian-zone", Files: zone.StoreFiles})...)
	return cmd
}
