package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/meridian-mesh/meridian/auth"
	"github.com/meridian-mesh/meridian/resource"
)

func (c *cli) generateCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "generate",
		Short: "Make tokens for zones and users, and the keys that sign them",
		Args:  knownCommand,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(c.zoneTokenCommand(), c.userTokenCommand(), c.signingKeyCommand())
	return cmd
}

// signing are the flags of a command that makes a token: by the control plane or, with a key, without one.
type signing struct {
	validFor     time.Duration
	keyPath, kid string
}

func newSigning(cmd *cobra.Command) *signing {
	s := &signing{}
	f := cmd.Flags()
	f.DurationVar(&s.validFor, "valid-for", 0, "how long the token holds, such as 24h (required)")
	f.StringVar(&s.keyPath, "signing-key-path", "", "PEM file with the key to sign with, in place of a control plane")
	f.StringVar(&s.kid, "kid", "", "serial of that key: the N of its GlobalSecret …-signing-key-N")
	return s
}

func (s *signing) check() error {
	switch {
	case s.validFor <= 0:
		return usage("--valid-for must be given, above 0: such as 24h")
	case (s.keyPath == "") != (s.kid == ""):
		return usage("--signing-key-path and --kid must be given together")
	}
	return nil
}

// signer returns the key of --signing-key-path.
func (s *signing) signer() (auth.Signer, error) {
	data, err := os.ReadFile(s.keyPath)
	if err != nil {
		return auth.Signer{}, usage("--signing-key-path: %w", err)
	}
	key, err := resource.ParseSigningKey(data)
	if err != nil {
		return auth.Signer{}, usage("--signing-key-path: %s %w", s.keyPath, err)
	}
	return auth.Signer{Key: key, Serial: s.kid}, nil
}

func (c *cli) zoneTokenCommand() *cobra.Command {
	var zone string
	var scope []string
	cmd := &cobra.Command{
		Use:   "zone-token --zone NAME --valid-for DURATION",
		Short: "Make the token that proves a zone to the global control plane",
		Long: "Make the token that proves a zone to the global control plane (meridian-zone --zone-token-file). Ask the global control\n" +
			"plane, as an administrator; with --signing-key-path it is made here.",
		Example: "  meridian generate zone-token --zone east --valid-for 720h > east.token",
		Args:    cobra.NoArgs,
	}
	f := cmd.Flags()
	f.StringVar(&zone, "zone", "", "name of the zone (required)")
	f.StringSliceVar(&scope, "scope", []string{auth.ScopeZone}, "what the token is good for: cp (the zone's control plane), ingress, egress; may be repeated")
	sign := newSigning(cmd)
	cmd.RunE = c.run(func(ctx context.Context, _ []string) error {
		if !resource.ValidZoneName(zone) {
			return usage("--zone %q: want the name of a zone, a DNS name of at most 63 characters", zone)
		}
		if len(scope) == 0 {
			return usage("--scope must not be empty")
		}
		return c.printToken(c.issue(ctx, sign, "zone", map[string]any{"zone": zone, "scope": scope}, func(key auth.Signer) (string, error) {
			return key.Zone(zone, scope, sign.validFor, time.Now())
		}))
	})
	return cmd
}

func (c *cli) userTokenCommand() *cobra.Command {
	var name string
	var groups []string
	cmd := &cobra.Command{
		Use:   "user-token --name NAME [--group GROUP...] --valid-for DURATION",
		Short: "Make the token that proves a person to the REST API",
		Long: "Make the token that proves a person to the REST API of the control plane that is asked (meridian --token). The group\n" +
			"mesh-system:admin makes an administrator.",
		Example: "  meridian generate user-token --name jane --group mesh-system:admin --valid-for 24h",
		Args:    cobra.NoArgs,
	}
	f := cmd.Flags()
	f.StringVar(&name, "name", "", "name of the user (required)")
	f.StringSliceVar(&groups, "group", nil, "a group of the user; may be repeated")
	sign := newSigning(cmd)
	cmd.RunE = c.run(func(ctx context.Context, _ []string) error {
		if name == "" {
			return usage("--name must be given: the name of the user")
		}
		return c.printToken(c.issue(ctx, sign, "user", map[string]any{"name": name, "groups": groups}, func(key auth.Signer) (string, error) {
			return key.User(name, groups, sign.validFor, time.Now())
		}))
	})
	return cmd
}

func (c *cli) signingKeyCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "signing-key",
		Short: "Make a key that signs tokens",
		Long: "Make a key that signs tokens, for the data of a GlobalSecret zone-token-signing-key-N or user-token-signing-key-N.\n" +
			"The key of the highest N signs; tokens of the others hold until their key is deleted.",
		Example: "  printf 'type: GlobalSecret\\nname: zone-token-signing-key-2\\ndata: %s\\n' $(meridian generate signing-key) | meridian apply -f -",
		Args:    cobra.NoArgs,
	}
	format := newChoice("pem-base64", "pem")
	cmd.Flags().Var(format, "format", "pem-base64, as a GlobalSecret has it, or pem, for --signing-key-path")
	cmd.RunE = c.run(func(context.Context, []string) error {
		key, err := auth.NewSigningKey()
		if err != nil {
			return err
		}
		if format.value == "pem" {
			_, err = c.out.Write(key)
			return err
		}
		_, err = fmt.Fprintln(c.out, base64.StdEncoding.EncodeToString(key))
		return err
	})
	return cmd
}

// issue returns a token for a zone or a user (of): signed with the key of --signing-key-path, or else made of the claims by the
// control plane.
func (c *cli) issue(ctx context.Context, sign *signing, of string, claims map[string]any, signed func(auth.Signer) (string, error)) (string, error) {
	if err := sign.check(); err != nil {
		return "", err
	}
	if sign.keyPath != "" {
		key, err := sign.signer()
		if err != nil {
			return "", err
		}
		return signed(key)
	}
	api, err := c.client()
	if err != nil {
		return "", err
	}
	claims["validFor"] = sign.validFor.String()
	return api.newToken(ctx, of, claims)
}

func (c *cli) printToken(token string, err error) error {
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(c.out, token)
	return err
}

// newToken asks the control plane for a token; of is zone or user.
func (c *client) newToken(ctx context.Context, of string, request map[string]any) (string, error) {
	body, err := json.Marshal(request)
	if err != nil {
		return "", err
	}
	a, err := c.do(ctx, http.MethodPost, "/tokens/"+of, body)
	if err == nil {
		err = a.err()
	}
	if refused, ok := errors.AsType[*apiError](err); ok && refused.Status == http.StatusForbidden {
		return "", fmt.Errorf("%w; run it on the machine of the control plane, or with --token of an administrator", err)
	}
	if err != nil {
		return "", err
	}
	return string(a.Body), nil
}
