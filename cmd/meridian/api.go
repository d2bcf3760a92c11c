package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/meridian-mesh/meridian/cmd/internal/config"
	"github.com/meridian-mesh/meridian/control"
	"github.com/meridian-mesh/meridian/resource"
	"github.com/meridian-mesh/meridian/zone"
)

func (c *cli) apiCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "api PATH",
		Short: "Print the answer of the REST API to GET PATH",
		Long: "Print the answer of the REST API to GET PATH. The exit code is 0 for a 2xx answer and else 1.\n\n" +
			"With -f the request goes to a zone that lives for this call over the documents of the files, and needs no\n" +
			"control plane: a way to ask what would be in force. --as-stored loads them as they are, as if read from a\n" +
			"store: no label is computed and nothing is refused for belonging elsewhere.",
		Example: "  meridian api /zones/_overview\n  meridian api /meshes/default/dataplanes/web/_rules -f mesh.yaml",
		Args:    cobra.ExactArgs(1),
	}
	asked := newAskFlags(cmd)
	cmd.RunE = c.run(func(ctx context.Context, args []string) error {
		path := args[0]
		if !strings.HasPrefix(path, "/") {
			path = "/" + path
		}
		return c.ask(ctx, asked, func(api *client) error { return c.printAnswer(ctx, api, path) })
	})
	return cmd
}

func (c *cli) printAnswer(ctx context.Context, api *client, path string) error {
	a, err := api.do(ctx, http.MethodGet, path, nil)
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintf(c.out, "%s\n", bytes.TrimSuffix(a.Body, []byte("\n"))); err != nil {
		return err
	}
	if a.Status/100 != 2 { // the body has the reason, and is printed
		return fmt.Errorf("GET %s: %d %s", path, a.Status, http.StatusText(a.Status))
	}
	return nil
}

// overFiles runs fn against a zone that holds the documents of the files and lives until fn returns.
func (c *cli) overFiles(ctx context.Context, paths []string, asStored bool, fn func(*client) error) error {
	docs, err := c.goodDocuments(ctx, paths, resource.ReadOptions{AsStored: asStored, MaxBytes: c.maxDocumentBytes})
	if err != nil {
		return err
	}
	if asStored {
		all := make([]resource.Resource, len(docs))
		for i, doc := range docs {
			all[i] = doc.Resource
		}
		return overStored(ctx, "files", all, fn)
	}
	return overZone(ctx, "files", func(z *zone.Zone, api *client) error {
		results, err := api.apply(ctx, docs, applyOptions{})
		if err != nil {
			return err
		}
		for _, r := range results {
			if r.Error != nil {
				return config.Usage(r.invalid(docs))
			}
		}
		return fn(api)
	})
}

// overStored runs fn against a zone whose store holds exactly these resources and that lives until fn returns.
func overStored(ctx context.Context, name string, all []resource.Resource, fn func(*client) error) error {
	return overZone(ctx, name, func(z *zone.Zone, api *client) error {
		if err := replaceAll(ctx, z, all); err != nil {
			return err
		}
		return fn(api)
	})
}

// overZone runs fn against a zone in this process that lives until fn returns.
func overZone(ctx context.Context, name string, fn func(*zone.Zone, *client) error) (err error) {
	dir, err := os.MkdirTemp("", "meridian-api-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	z, err := zone.Open(zone.Config{Config: control.Config{DataDir: dir, NoSync: true, NoKeys: true}, Name: name})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, z.Close()) }()
	ctx, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- z.Run(ctx) }()
	defer func() {
		stop()
		err = errors.Join(err, <-ended)
	}()
	return fn(z, &client{http: &http.Client{Transport: inProcess{z.Handler()}}})
}

// replaceAll makes all the whole content of the zone's store: what a new zone makes for itself goes.
func replaceAll(ctx context.Context, z *zone.Zone, all []resource.Resource) error {
	var ops []resource.Op
	err := z.Store().View(ctx, "", func(_ resource.Revision, all iter.Seq2[resource.Resource, error]) error {
		for r, err := range all {
			if err != nil {
				return err
			}
			ops = append(ops, resource.Delete(r.Key))
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, r := range all {
		ops = append(ops, resource.Put(r))
	}
	_, err = z.Store().Apply(ctx, ops...)
	return err
}

// inProcess answers requests with a handler, without a socket.
type inProcess struct{ http.Handler }

func (h inProcess) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Body == nil {
		req.Body = http.NoBody // a handler may count on a body
	}
	req = req.Clone(req.Context())
	req.RemoteAddr = "127.0.0.1:0" // the caller is on this machine
	w := &recorder{header: http.Header{}, status: http.StatusOK}
	h.ServeHTTP(w, req)
	return &http.Response{
		StatusCode: w.status, Header: w.header, Body: io.NopCloser(&w.body),
		ProtoMajor: 1, ProtoMinor: 1, Request: req,
	}, nil
}

// recorder is a http.ResponseWriter that keeps the answer.
type recorder struct {
	status int
	header http.Header
	body   bytes.Buffer
}

func (w *recorder) Header() http.Header            { return w.header }
func (w *recorder) WriteHeader(status int)         { w.status = status }
func (w *recorder) Write(data []byte) (int, error) { return w.body.Write(data) }
