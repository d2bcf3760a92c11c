package resource

import systemv1 "github.com/meridian-mesh/meridian/proto/system/v1alpha1"

// ValidZoneName says whether a zone can have that name: a DNS label, so 1 to 63 of a-z, 0-9 and "-", a letter or digit
// first and last.
func ValidZoneName(name string) bool {
	return len(name) <= maxLabelLength && dnsLabel.MatchString(name)
}

// ZoneEnabled says whether a Zone takes part; it does unless it says otherwise. One that cannot be read, which is the
// error, does not.
func ZoneEnabled(zone Resource) (bool, error) {
	spec, err := Spec[*systemv1.Zone](zone)
	return err == nil && (spec.Enabled == nil || spec.Enabled.Value), err
}
