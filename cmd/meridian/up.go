package main

import (
	"context"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
)

func (c *cli) upCommand() *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Run the federation of the demo until Ctrl-C, with the commands to try",
		Long: "Start a global control plane and the zones east and west with the proxies and services of the demo, and print\n" +
			"the commands to try. Ctrl-C stops them. What they stored is removed, unless --data-dir says where to keep it.",
		Example: "  meridian up --data-dir ~/meridian-try",
		Args:    cobra.NoArgs,
	}
	cmd.Flags().StringVar(&dir, "data-dir", "", "folder to keep the data in; default: a temporary one, removed at the end")
	cmd.RunE = c.run(func(ctx context.Context, _ []string) error {
		return withFederation(ctx, dir, func(f *federation) error { return c.up(ctx, f) })
	})
	return cmd
}

func (c *cli) up(ctx context.Context, f *federation) error {
	if err := f.setUp(ctx); err != nil {
		return err
	}
	policies := filepath.Join(f.dir, "guide")
	if err := writeGuide(policies); err != nil {
		return err
	}
	fmt.Fprint(c.out, "One global and two zones are up:\n\n")
	f.printAddresses(c.out)
	fmt.Fprintf(c.out, `
Logs and data are in %[2]s. Try, in another terminal:

   export MERIDIAN_ADDRESS=%[3]s    # zone east
   %[1]s apply -f %[4]s
   %[1]s explain consumer.first-consumer --to demo-app
   %[1]s apply -f %[5]s
   %[1]s explain consumer.first-consumer --to demo-app
   %[1]s inspect dataplane consumer.first-consumer
   %[1]s --address %[6]s explain consumer.first-consumer --to demo-app    # west
   %[1]s --address %[7]s zones    # global

Ctrl-C stops all three.
`, shellWord(os.Args[0]), f.dir, f.plane("east").URL(), shellWord(filepath.Join(policies, "2-producer-timeout.yaml")),
		shellWord(filepath.Join(policies, "3-consumer-timeout.yaml")), f.plane("west").URL(), f.global.URL())

	ended := make(chan *plane, len(f.planes()))
	for _, p := range f.planes() {
		go func() {
			select {
			case <-p.Done():
				ended <- p
			case <-ctx.Done():
			}
		}()
	}
	select {
	case <-ctx.Done():
		fmt.Fprintln(c.out, "\nstopping")
		return nil
	case p := <-ended:
		return fmt.Errorf("%s has ended; the last it said:\n%s", p.name, p.Tail())
	}
}

// writeGuide puts the policies of the guide into files for the commands to try.
func writeGuide(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	for _, s := range guide {
		data, err := demoFiles.ReadFile(path.Join("demo", s.file))
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, s.file), data, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// shellWord returns word as a shell reads it back.
func shellWord(word string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("/._-+:@%,=~", r)
	}
	if word != "" && word[0] != '~' && !strings.ContainsFunc(word, func(r rune) bool { return !plain(r) }) {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}
