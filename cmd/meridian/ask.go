package main

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// askFlags are the flags of commands that ask a control plane, or a zone made of files in its place.
type askFlags struct {
	files    *[]string
	asStored bool
}

func newAskFlags(cmd *cobra.Command) *askFlags {
	o := &askFlags{}
	o.files = cmd.Flags().StringArrayP("filename", "f", nil,
		"ask a zone that lives for this call over this file, folder, http(s):// address or - (standard input) in place of a control plane; may be repeated")
	cmd.Flags().BoolVar(&o.asStored, "as-stored", false, "with -f: load the documents as they are, compute no labels")
	return o
}

// ask calls fn with the control plane at --address or, with -f, with a zone that holds the documents of the files and
// lives until fn returns.
func (c *cli) ask(ctx context.Context, o *askFlags, fn func(*client) error) error {
	if len(*o.files) > 0 {
		return c.overFiles(ctx, *o.files, o.asStored, fn)
	}
	if o.asStored {
		return usage("--as-stored needs -f")
	}
	api, err := c.client()
	if err != nil {
		return err
	}
	return fn(api)
}

// Headers of answers that do not rest on first-hand knowledge of this moment.
const (
	staleHeader     = "Meridian-Stale-Since" // of a zone without its global control plane: since when
	knowledgeHeader = "Meridian-Knowledge"   // of global, about a zone: zone=east; state=offline; revision=31; age=5m12s
)

// knowledge is what a knowledge header says.
type knowledge struct {
	Zone  string `json:"zone"`
	State string `json:"state"` // online, stalled, offline, or unknown: it never connected
	Age   string `json:"age"`   // how long ago the zone was last heard of; unknown
}

// knowledgeOf returns what the knowledge headers say, one for each zone.
func knowledgeOf(header http.Header) []knowledge {
	var all []knowledge
	for _, value := range header.Values(knowledgeHeader) {
		var k knowledge
		for part := range strings.SplitSeq(value, ";") {
			key, word, _ := strings.Cut(strings.TrimSpace(part), "=")
			switch key {
			case "zone":
				k.Zone = word
			case "state":
				k.State = word
			case "age":
				k.Age = word
			}
		}
		if !slices.ContainsFunc(all, func(other knowledge) bool { return other.Zone == k.Zone }) {
			all = append(all, k)
		}
	}
	return all
}

// warnOld tells how old the view is that an answer was given from, if it may be too old.
func (c *cli) warnOld(header http.Header) {
	if since, err := time.Parse(time.RFC3339, header.Get(staleHeader)); err == nil {
		fmt.Fprintf(c.err, "warning: the zone has been without its global control plane for %s: what was written elsewhere since is not in this view\n",
			age(since, time.Now()))
	}
	for _, k := range knowledgeOf(header) {
		switch {
		case k.State == "online":
		case k.State == "stalled":
			fmt.Fprintf(c.err, "warning: zone %s is stalled (connected, but it takes nothing): what has changed there since may not be in this view\n", k.Zone)
		case k.Age == "unknown":
			fmt.Fprintf(c.err, "warning: zone %s was never connected: what is there may not be in this view\n", k.Zone)
		default:
			fmt.Fprintf(c.err, "warning: zone %s is offline and was last heard of %s ago: what has changed there since is not in this view\n", k.Zone, k.Age)
		}
	}
}
