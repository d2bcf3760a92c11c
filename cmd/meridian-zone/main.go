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
	"cmp"
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
	c.Flags(f, "DATA-DIR/api.crt, self-made")
	f.StringVar(&c.Name, "name", "", "name of the zone (required): a DNS name, the same for ever")
	f.StringVar(&c.Global, "global", "", "grpcs://HOST:PORT of the global control plane, or grpc://HOST:PORT in plain text (default: stand alone)")
	f.StringVar(&c.TLSCA, "tls-ca", "", "PEM file with the certificates that the global control plane may show (default: the system's)")
	f.StringVar(&c.TokenFile, "zone-token-file", "", "file with the token that proves this zone to the global control plane; read at every connect")
	f.StringVar(&c.Token, "zone-token", "", "the token itself, which other users of this machine can see on the command line")
	f.StringVar(&c.TLSCert, "tls-cert", "", "PEM file with a client certificate that proves this zone; read at every connect")
	f.StringVar(&c.TLSKey, "tls-key", "", "PEM file with its key")
	f.BoolVar(&c.TLSSkipVerify, "tls-skip-verify", false, "accept any certificate of the global control plane")
	version := f.String("act-as-version", "", "say that this is the build of another version, to see what a federation of several does (default: this one)")
	f.StringSliceVar(&c.Without, "act-without", nil, "features of the sync not to announce, as an older build would not")
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
		c.Log, c.Version = log, cmp.Or(*version, config.Version)
		if err := c.Validate(); err != nil {
			return config.Usage(err)
		}
		z, err := zone.Open(c)
		if err != nil {
			return err
		}
		defer z.Close()
		https, link := "", ""
		if url := z.SecureURL(); url != "" {
			https = " https=" + url
		}
		if c.Global != "" {
			link = " global=" + c.Global
		}
		// The listener is open: whoever connects from here on is served.
		fmt.Fprintf(cmd.OutOrStdout(), "meridian-zone ready zone=%s api=%s%s%s data=%s\n", c.Name, z.URL(), https, link, c.DataDir)
		return z.Run(cmd.Context())
	}
	cmd.AddCommand(store.Commands(store.Plane{Program: "meridian-zone", Files: zone.StoreFiles})...)
	return cmd
}
