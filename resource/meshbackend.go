package resource

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"math"
	"net"
	"net/url"
	"regexp"
	"strconv"

	"google.golang.org/protobuf/types/known/structpb"

	meshv1 "github.com/meridian-mesh/meridian/proto/mesh/v1alpha1"
)

// The conf of a backend of a Mesh is a free object; which fields it has depends on the type of the backend. Fields that
// are not known here are left alone. No message shows what a conf holds besides names, addresses and paths: it may be a
// private key.

// authority checks the conf of a backend that issues certificates.
func (p *problems) authority(at, mesh string, b *meshv1.CertificateAuthorityBackend) {
	conf := b.GetConf().GetFields()
	switch b.GetType() {
	case "builtin":
		// Its certificate is kept in a Secret of this name.
		if secret := mesh + ".ca-builtin-cert-" + b.GetName(); b.GetName() != "" && (len(secret) > maxNameLength || !dnsSubdomain.MatchString(secret)) {
			p.add(at+".name", "found %q: %s; with the mesh at most %d characters", cut(b.GetName()), wantName, maxNameLength-len(".ca-builtin-cert-"))
		}
		if ca, ok := conf["caCert"]; ok {
			fields, ok := ca.GetKind().(*structpb.Value_StructValue)
			if !ok {
				p.add(at+".conf.caCert", "want an object")
				return
			}
			bits, expires := fields.StructValue.GetFields()["RSAbits"], fields.StructValue.GetFields()["expiration"]
			if n, ok := bits.GetKind().(*structpb.Value_NumberValue); bits != nil && (!ok || n.NumberValue < 0 || n.NumberValue > math.MaxUint32 || n.NumberValue != math.Trunc(n.NumberValue)) {
				p.add(at+".conf.caCert.RSAbits", "want a whole number")
			}
			if _, ok := expires.GetKind().(*structpb.Value_StringValue); expires != nil && !ok {
				p.add(at+".conf.caCert.expiration", "want a text such as 10y")
			}
		}
	case "provided":
		cert, certHere := p.dataSource(at+".conf.cert", conf["cert"])
		key, keyHere := p.dataSource(at+".conf.key", conf["key"])
		if certHere && keyHere {
			p.authorityPair(at+".conf", cert, key)
		}
	}
}

// dataSource checks a data source in a free object, and returns the data if they are in it.
func (p *problems) dataSource(at string, v *structpb.Value) (data []byte, here bool) {
	fields := v.GetStructValue().GetFields()
	kinds := 0
	for _, name := range []string{"secret", "file", "inline", "inlineString"} {
		value, ok := fields[name]
		if !ok {
			continue
		}
		kinds++
		text, isText := value.GetKind().(*structpb.Value_StringValue)
		switch {
		case !isText || text.StringValue == "":
			p.add(at+"."+name, "want a text that is not empty")
		case name == "inlineString":
			data, here = []byte(text.StringValue), true
		case name == "inline":
			var err error
			if data, err = base64.StdEncoding.DecodeString(text.StringValue); err != nil {
				p.add(at+".inline", "want a text in base64")
			} else {
				here = true
			}
		}
	}
	const want = "want one of secret, file, inline, inlineString"
	switch kinds {
	case 0:
		p.add(at, "must be given: "+want)
	case 1:
		return data, here
	default:
		p.add(at, "has %d sources: %s", kinds, want)
	}
	return nil, false
}

// authorityPair checks a certificate of an authority and its private key, both in PEM.
func (p *problems) authorityPair(at string, cert, key []byte) {
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		p.add(at, "cert and key are no certificate and its private key in PEM") // the error may show parts of the key
		return
	}
	ca, err := x509.ParseCertificate(pair.Certificate[0])
	switch {
	case err != nil:
		p.add(at+".cert", "is no certificate: %v", err)
	case !ca.IsCA:
		p.add(at+".cert", "is not the certificate of an authority: want the basic constraint CA:true")
	}
	if err == nil && ca.KeyUsage&x509.KeyUsageCertSign == 0 {
		p.add(at+".cert", "must have the key usage keyCertSign")
	}
	if err == nil && ca.KeyUsage&x509.KeyUsageKeyAgreement != 0 {
		p.add(at+".cert", "must not have the key usage keyAgreement")
	}
}

func (p *problems) loggingConf(at string, b *meshv1.LoggingBackend) {
	conf := b.GetConf().GetFields()
	switch b.GetType() {
	case "file":
		if conf["path"].GetStringValue() == "" {
			p.add(at+".path", mustBeGiven)
		}
	case "tcp":
		p.hostPort(at+".address", conf["address"])
	}
}

func (p *problems) tracingConf(at string, b *meshv1.TracingBackend) {
	conf := b.GetConf().GetFields()
	switch b.GetType() {
	case "zipkin":
		text := conf["url"].GetStringValue()
		if u, err := url.Parse(text); text == "" {
			p.add(at+".url", mustBeGiven)
		} else if err != nil || u.Scheme == "" || u.Hostname() == "" || !isPort(u.Port()) {
			p.add(at+".url", "found %q, want a URL with a port, such as http://zipkin:9411/api/v2/spans", cut(text))
		}
	case "datadog":
		if address := conf["address"].GetStringValue(); address == "" {
			p.add(at+".address", mustBeGiven)
		} else if !isHost(address) {
			p.add(at+".address", wantHost, cut(address))
		}
		if port := conf["port"].GetNumberValue(); !isPort(strconv.FormatFloat(port, 'f', -1, 64)) {
			p.add(at+".port", "found %v, want a port from 1 to %d", port, maxPort)
		}
	}
}

func (p *problems) hostPort(at string, v *structpb.Value) {
	address := v.GetStringValue()
	host, port, err := net.SplitHostPort(address)
	if address == "" {
		p.add(at, mustBeGiven)
	} else if err != nil || host == "" || !isPort(port) {
		p.add(at, "found %q, want a host and a port, such as logstash:5000", cut(address))
	}
}

// isPort says whether s is a port in decimal.
func isPort(s string) bool {
	port, err := strconv.ParseUint(s, 10, 16)
	return err == nil && port > 0
}

// metricsBackend checks a backend that a Dataplane has in the place of its mesh's.
func (p *problems) metricsBackend(at string, b *meshv1.MetricsBackend) {
	if b.GetType() != "prometheus" {
		p.add(at+".type", "found %q, want prometheus", cut(b.GetType()))
		return
	}
	p.prometheusConf(at+".conf", b.GetConf())
}

func (p *problems) prometheusConf(at string, conf *structpb.Struct) {
	fields := conf.GetFields()
	skip, hasSkip := fields["skipMTLS"].GetKind().(*structpb.Value_BoolValue)
	mode, hasMode := fields["tls"].GetStructValue().GetFields()["mode"].GetKind().(*structpb.Value_StringValue)
	if hasSkip && hasMode && skip.BoolValue == (mode.StringValue == "activeMTLSBackend") {
		p.add(at+".skipMTLS", "found %v, but tls.mode is %s: give one of them", skip.BoolValue, cut(mode.StringValue))
	}
	if filter := fields["envoy"].GetStructValue().GetFields()["filterRegex"].GetStringValue(); filter != "" {
		if _, err := regexp.Compile(filter); err != nil {
			p.add(at+".envoy.filterRegex", "found %q, want a regular expression: %v", cut(filter), err)
		}
	}
	names := map[string]int{}
	for i, v := range fields["aggregate"].GetListValue().GetValues() {
		name := v.GetStructValue().GetFields()["name"].GetStringValue()
		if first, ok := names[name]; ok {
			p.add(fmt.Sprintf("%s.aggregate[%d].name", at, i), "%q is the name of aggregate[%d] too", cut(name), first)
		} else {
			names[name] = i
		}
	}
}
