package resource

import (
	"bytes"
	"encoding/base64"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	systemv1 "github.com/meridian-mesh/meridian/proto/system/v1alpha1"
)

// redacted stands for the data of a secret that is not shown. It is valid base64, so a document with it reads
// "data: redacted"; Read refuses it, lest somebody apply what was printed and lose the secret.
const redacted = "redacted"

var redactedData, _ = base64.StdEncoding.DecodeString(redacted)

func validateSecret(r Resource, spec any) []Violation {
	var p problems
	data := spec.(*systemv1.Secret).GetData().GetValue()
	if bytes.Equal(data, redactedData) {
		p.add("data", "found %s, which stands for data that was not shown: want the data itself, in base64", redacted)
	} else if isSigningKey(r) {
		if _, err := ParseSigningKey(data); err != nil {
			p.add("data", "%v: a signing key is a private RSA key in PEM, in base64 (meridian generate signing-key)", err)
		}
	}
	return p
}

// Redact returns r for showing to somebody who may not see secrets: the data of a Secret or GlobalSecret is replaced by
// a marker, which documents show as "data: redacted". What else an unreadable or newer spec of those kinds holds is left
// out. Any other resource is returned as it is. r is not modified.
func Redact(r Resource) Resource {
	if r.Kind != "Secret" && r.Kind != "GlobalSecret" {
		return r
	}
	var have, shown systemv1.Secret
	if err := proto.Unmarshal(r.Spec, &have); err != nil || have.GetData() != nil {
		shown.Data = wrapperspb.Bytes(redactedData)
	}
	spec, err := proto.MarshalOptions{Deterministic: true}.Marshal(&shown)
	if err != nil {
		panic(err) // a message of ours, with nothing that can fail
	}
	r.Spec = spec
	return r
}
