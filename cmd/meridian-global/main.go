// Command meridian-global is the global control plane: zones connect to it, and what it stores reaches them.
//
// When it is ready it prints one line on standard output, with the addresses that it really listens on:
//
//	meridian-global ready api=http://127.0.0.1:5681 kds=grpcs://127.0.0.1:5685 data=meridian-data
//
// It stops on SIGINT and SIGTERM, within five seconds. Exit codes: 0 stopped as asked, 1 failed, 2 wrong usage.
// Flags, variables and the configuration file: docs/reference/configuration.md.
package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/meridian-mesh/meridian/cmd/internal/config"
	"github.com/meridian-mesh/meridian/cmd/internal/store"
	"github.com/meridian-mesh/meridian/global"
)

func main() { config.Main(command()) }

func command() *cobra.Command {
	var c global.Config
	var file, level, format string
	cmd := &cobra.Command{
		Use:     "meridian-global",
		Short:   "Run the global control plane",
		Version: config.Version,
		Args:    cobra.NoArgs,
	}
	f := cmd.Flags()
	c.Flags(f, "that of the KDS server")
	f.StringVar(&c.KDSAddr, "kds-addr", ":5685", "HOST:PORT that zones connect to; port 0: any free one")
	f.StringVar(&c.TLSCert, "tls-cert", "", "PEM file with the certificate of the KDS server (default DATA-DIR/kds.crt, self-made)")
	f.StringVar(&c.TLSKey, "tls-key", "", "PEM file with its key")
	f.BoolVar(&c.Insecure, "insecure", false, "serve KDS in plain text, and believe zones who they are unless --kds-auth is token")
	f.StringVar(&c.TLSClientCA, "tls-client-ca", "", "PEM file with the CA of client certificates that prove zones")
	f.StringVar(&c.KDSAuth, "kds-auth", "", "what proves a zone: token (or a client certificate), or none (default token)")
	f.IntVar(&c.MaxLists, "sync-max-lists", 0, "complete lists that are sent to zones at once; the others wait (default 16)")
	f.IntVar(&c.MaxZoneStreams, "max-zone-streams", 0, "streams that one connection of a zone may have open (default 16)")
	f.IntVar(&c.MaxZoneResources, "max-zone-resources", 0, "resources that one zone may have here; below 0: any number (default 100000)")
	f.StringVar(&file, "config", "", config.FileUsage)
	f.StringVar(&level, "log-level", "info", "trace, debug, info, warn, error or off")
	f.StringVar(&format, "log-format", "text", "text or json, on standard error")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := config.Load(f, file, os.LookupEnv); err != nil {
			return config.Usage(err)
		}
		log, err := config.Logger(cmd.ErrOrStderr(), "global", level, format)
		if err != nil {
			return config.Usage(err)
		}
		c.Log, c.Version = log, config.Version
		if err := c.Validate(); err != nil {
			return config.Usage(err)
		}
		g, err := global.Open(c)
		if err != nil {
			return err
		}
		defer g.Close()
		// The listeners are open: whoever connects from here on is served.
		https := ""
		if url := g.SecureURL(); url != "" {
			https = " https=" + url
		}
		fmt.Fprintf(cmd.OutOrStdout(), "meridian-global ready api=%s%s kds=%s data=%s\n", g.URL(), https, g.KDSURL(), c.DataDir)
		return g.Run(cmd.Context())
	}
	cmd.AddCommand(store.Commands(store.Plane{Program: "meridian-global", Files: global.StoreFiles})...)
	return cmd
}
