package control

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/spf13/pflag"

	"github.com/meridian-mesh/meridian/kds"
	"github.com/meridian-mesh/meridian/storage/bolt"
)

// Config is what every control plane can be told. The commands' flags fill it in, tests do so directly.
type Config struct {
	DataDir string // directory of the store and of self-made certificates; made with mode 0700 if missing. Required

	HTTPAddr    string // HOST:PORT of the REST API, port 0: any free one; "": no listener, only Handler
	HTTPSAddr   string // HOST:PORT of the REST API over TLS, port 0: any free one; "": no listener
	HTTPTLSCert string // PEM file, certificate of the REST API over TLS; "": see Role
	HTTPTLSKey  string // PEM file, its key; with HTTPTLSCert only

	ReadOnly        bool   // nothing is written through the REST API
	AnonymousWrites string // "true" or "false": who has no token may write; "": as long as the REST API listens on loopback only
	NoLocalAdmin    bool   // requests from this machine are not an administrator's

	MaxDocumentBytes int64 // of one document that somebody writes; 0: 1 MiB

	DefaultPolicies bool // a mesh that is made here gets Kuma's default policies with it; nobody else's meshes do

	Sync kds.Tuning

	Version string       // of the program; "": dev
	Log     hclog.Logger // nil discards

	// For tests and simulations.

	HTTPListener net.Listener     // used instead of listening on HTTPAddr; closed by Close
	NoSync       bool             // see bolt.Options
	NoKeys       bool             // make no signing keys for a new store, which takes long: no tokens are issued
	Now          func() time.Time // nil: time.Now
	Fate         func() bolt.Fate // see bolt.Options
}

// Validate returns everything that is wrong with c, joined, in the words of the flags.
func (c Config) Validate() error {
	var errs []error
	if c.DataDir == "" {
		errs = append(errs, errors.New("--data-dir must be given"))
	}
	if c.MaxDocumentBytes < 0 {
		errs = append(errs, fmt.Errorf("--max-document-bytes %d: want 0 (1 MiB) or more", c.MaxDocumentBytes))
	}
	if (c.HTTPTLSCert == "") != (c.HTTPTLSKey == "") || c.HTTPTLSCert != "" && c.HTTPSAddr == "" {
		errs = append(errs, errors.New("--http-tls-cert and --http-tls-key must be given together, and with --https-addr"))
	}
	switch c.AnonymousWrites {
	case "", "true", "false":
	default:
		errs = append(errs, fmt.Errorf("--anonymous-writes %q: want true or false", c.AnonymousWrites))
	}
	return errors.Join(append(errs,
		CheckAddr("--http-addr", c.HTTPAddr), CheckAddr("--https-addr", c.HTTPSAddr),
		c.Sync.Check(func(setting string) string { return "--sync-" + setting }))...)
}

// CheckAddr says what is wrong with the address that a flag gives, if it gives one.
func CheckAddr(flag, addr string) error {
	if _, _, err := net.SplitHostPort(addr); addr != "" && err != nil {
		return fmt.Errorf("%s: want HOST:PORT: %w", flag, err)
	}
	return nil
}

// Flags adds the flags that fill in c. tlsDefault says in words which certificate the REST API has over TLS by default.
func (c *Config) Flags(f *pflag.FlagSet, tlsDefault string) {
	f.StringVar(&c.DataDir, "data-dir", "meridian-data", "directory of the store and of self-made certificates; made if missing")
	f.StringVar(&c.HTTPAddr, "http-addr", "127.0.0.1:5681", "HOST:PORT of the REST API; port 0: any free one")
	f.StringVar(&c.HTTPSAddr, "https-addr", "", "HOST:PORT of the REST API over TLS; port 0: any free one (default: none)")
	f.StringVar(&c.HTTPTLSCert, "http-tls-cert", "", "PEM file with the certificate of the REST API over TLS (default "+tlsDefault+")")
	f.StringVar(&c.HTTPTLSKey, "http-tls-key", "", "PEM file with its key")
	f.Int64Var(&c.MaxDocumentBytes, "max-document-bytes", 0, "largest document that may be written (default 1 MiB)")
	f.BoolVar(&c.DefaultPolicies, "default-policies", false, "make Kuma's default policies with each new mesh, unless its skipCreatingInitialPolicies says otherwise")
	f.BoolVar(&c.ReadOnly, "read-only", false, "write nothing through the REST API")
	f.StringVar(&c.AnonymousWrites, "anonymous-writes", "", "true or false: whether those without a token may write (default: while the REST API listens on loopback addresses only)")
	f.Lookup("anonymous-writes").NoOptDefVal = "true"
	localAdmin := f.VarPF((*opposite)(&c.NoLocalAdmin), "localhost-is-admin", "", "take requests from this machine for those of an administrator")
	localAdmin.NoOptDefVal = "true"
	f.DurationVar(&c.Sync.StallTime, "sync-stall-time", 0, "without progress for so long a peer is stalled, after twice that its streams end; below 0: never (default 30s)")
	f.Float64Var(&c.Sync.Guard.Share, "sync-guard-share", 0, "a complete list that deletes a larger share of a kind waits for a confirmation (default 0.5)")
	f.IntVar(&c.Sync.Guard.AtLeast, "sync-guard-at-least", 0, "fewer deletes than this never wait for one (default 20)")
	f.BoolVar(&c.Sync.Guard.Off, "sync-guard-off", false, "no delete waits for a confirmation")
	f.IntVar(&c.Sync.ChunkBytes, "sync-chunk-bytes", 0, "size of the parts of a long list, about (default 1 MiB)")
	f.IntVar(&c.Sync.MaxMessageBytes, "sync-max-message-bytes", 0, "largest message that is sent (default 10 MiB)")
}

// opposite is the value of a flag that says the opposite of a field.
type opposite bool

func (o *opposite) String() string { return fmt.Sprint(!*o) }
func (o *opposite) Type() string   { return "bool" }
func (o *opposite) Set(text string) error {
	is, err := strconv.ParseBool(text)
	*o = opposite(!is)
	return err
}
