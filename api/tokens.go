package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/meridian-mesh/meridian/resource"
)

// defaultValidity is how long a zone token holds if nobody says, Kuma's.
const defaultValidity = 10 * 365 * 24 * time.Hour

// Tokens issues tokens. resource.ErrNotFound: there is no key to sign them with.
type Tokens struct {
	Zone func(ctx context.Context, zone string, scope []string, validFor time.Duration) (string, error)
	User func(ctx context.Context, name string, groups []string, validFor time.Duration) (string, error)
}

// zoneToken answers with a new token for a zone.
func (s *server) zoneToken(w http.ResponseWriter, r *http.Request) error {
	if err := administrator(r, "generate zone tokens"); err != nil {
		return err
	}
	var in struct {
		Zone     string   `json:"zone"`
		Scope    []string `json:"scope"`
		ValidFor string   `json:"validFor"`
	}
	if err := s.readRequest(w, r, &in); err != nil {
		return err
	}
	var wrong []resource.Violation
	if !resource.ValidZoneName(in.Zone) {
		wrong = append(wrong, resource.Violation{Field: "zone", Reason: fmt.Sprintf("%q is not the name of a zone: want a DNS name of at most 63 characters", in.Zone)})
	}
	if len(in.Scope) == 0 {
		wrong = append(wrong, resource.Violation{Field: "scope", Reason: "cannot be empty: want cp for a zone control plane, ingress, egress"})
	}
	validFor, bad := validity(in.ValidFor, defaultValidity)
	if wrong = append(wrong, bad...); len(wrong) > 0 {
		return &resource.InvalidError{Violations: wrong}
	}
	token, err := s.Tokens.Zone(r.Context(), in.Zone, in.Scope, validFor)
	return s.answerToken(w, r, "zone "+in.Zone, token, err)
}

// userToken answers with a new token for a user.
func (s *server) userToken(w http.ResponseWriter, r *http.Request) error {
	if err := administrator(r, "generate user tokens"); err != nil {
		return err
	}
	var in struct {
		Name     string   `json:"name"`
		Groups   []string `json:"groups"`
		ValidFor string   `json:"validFor"`
	}
	if err := s.readRequest(w, r, &in); err != nil {
		return err
	}
	var wrong []resource.Violation
	if in.Name == "" {
		wrong = append(wrong, resource.Violation{Field: "name", Reason: "cannot be empty"})
	}
	validFor, bad := validity(in.ValidFor, 0)
	if wrong = append(wrong, bad...); len(wrong) > 0 {
		return &resource.InvalidError{Violations: wrong}
	}
	token, err := s.Tokens.User(r.Context(), in.Name, in.Groups, validFor)
	return s.answerToken(w, r, "user "+in.Name, token, err)
}

// validity returns how long a token is to hold; otherwise is what an absent text means, 0: it must be there.
func validity(text string, otherwise time.Duration) (time.Duration, []resource.Violation) {
	if text == "" && otherwise > 0 {
		return otherwise, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d <= 0 {
		return 0, []resource.Violation{{Field: "validFor", Reason: fmt.Sprintf("%q is not a duration above 0, such as 24h", text)}}
	}
	return d, nil
}

func (s *server) readRequest(w http.ResponseWriter, r *http.Request, into any) error {
	body, err := readJSON(w, r, s.MaxBody)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(body, into); err != nil {
		return &failure{title: "Bad Request", detail: err.Error(), err: errBadRequest}
	}
	return nil
}

func (s *server) answerToken(w http.ResponseWriter, r *http.Request, of, token string, err error) error {
	if errors.Is(err, resource.ErrNotFound) {
		return &failure{title: "Signing Key not found", detail: "this control plane has no key to sign such a token with", err: err}
	}
	if err != nil {
		return err
	}
	s.Log.Info("token issued", "for", of, "by", caller(r).Name)
	w.Header().Set("Content-Type", "text/plain")
	w.Header().Set("Cache-Control", "no-store")
	_, err = io.WriteString(w, token)
	return err
}
