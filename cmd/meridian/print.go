package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/meridian-mesh/meridian/resource"
)

// print writes v as JSON or YAML for programs.
func (c *cli) print(output string, v any) error { return printTo(c.out, output, v) }

func printTo(w io.Writer, output string, v any) error {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(v); err != nil {
		return err
	}
	data := b.Bytes()
	if output == "yaml" {
		var err error
		if data, err = resource.ToYAML(data); err != nil {
			return err
		}
	}
	_, err := w.Write(data)
	return err
}

// age returns how long ago t was, in at most two units: 42s, 5m10s, 3h20m, 4d7h.
func age(t, now time.Time) string {
	if t.IsZero() {
		return "-"
	}
	const day = 24 * time.Hour
	d := max(now.Sub(t), 0)
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", d/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%dm%ds", d/time.Minute, d%time.Minute/time.Second)
	case d < day:
		return fmt.Sprintf("%dh%dm", d/time.Hour, d%time.Hour/time.Minute)
	default:
		return fmt.Sprintf("%dd%dh", d/day, d%day/time.Hour)
	}
}
