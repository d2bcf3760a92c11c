package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/meridian-mesh/meridian/policy"
	"github.com/meridian-mesh/meridian/resource"
)

// roleWords say whose policy it is.
var roleWords = map[string]string{
	resource.RoleSystem:        "an operator's",
	resource.RoleProducer:      "a producer's",
	resource.RoleConsumer:      "a consumer's",
	resource.RoleWorkloadOwner: "a workload owner's",
}

// because returns the rule by which l lost to winner.
func because(winner policy.Origin, l policy.Loser) string {
	switch l.By {
	case policy.ByKind:
		return "the winner's top-level targetRef is of a kind that counts more, or describes the proxy more closely"
	case policy.ByOrigin:
		return "what is written in a zone counts more than what is written on global"
	case policy.ByRole:
		return fmt.Sprintf("%s word counts more than %s", roleWords[winner.Role], roleWords[l.Origin.Role])
	case policy.ByToKind:
		return "the winner's item names the destination more closely"
	case policy.BySection:
		return "an item that names a port counts more than one that does not"
	case policy.ByName:
		return fmt.Sprintf("otherwise alike, the first in the alphabet counts, and %s comes before %s", winner.Name, l.Origin.Name)
	case policy.ByItem:
		return "of the items of one policy the last counts"
	}
	return string(l.By)
}

// by names a policy as people know it: producer-timeout of kuma-demo (producer, zone east).
func by(name, namespace, zone, role string) string {
	if namespace != "" {
		name += " of " + namespace
	}
	return fmt.Sprintf("%s (%s, %s)", name, role, writtenIn(zone))
}

// inZone returns "web.first (east)".
func inZone(name, zone string) string {
	if zone == "" {
		return name
	}
	return name + " (" + zone + ")"
}

func writtenIn(zone string) string {
	if zone == "" {
		return "global"
	}
	return "zone " + zone
}

func byOrigin(o policy.Origin) string { return by(o.Name, o.Namespace, o.Zone, o.Role) }

// item returns where in a policy a value stands: to[0]; "" in a policy that has no list.
func itemOf(o policy.Origin) string {
	if o.List == "default" {
		return ""
	}
	return fmt.Sprintf(" in %s[%d]", o.List, o.Item)
}

// write writes e for people.
func (e explanation) write(to io.Writer) error {
	var b strings.Builder
	proxy := inZone(resource.StorageName(e.Dataplane.Name, e.Dataplane.Namespace), e.Dataplane.Zone)
	if e.Listener != "" {
		proxy += " at its listener " + e.Listener
	}
	heading := ""
	for i, f := range e.Answers {
		if h := proxy + f.where(); h != heading {
			if heading != "" {
				b.WriteByte('\n')
			}
			heading = h
			b.WriteString(h + "\n")
		}
		f.write(&b)
		last := i == len(e.Answers)-1 || e.Answers[i+1].Type != f.Type || e.Answers[i+1].where() != f.where()
		if last && f.Via == policy.ViaMesh && f.Destination.Kind != "Mesh" {
			fmt.Fprintf(&b, "    no %s that applies names this destination, so what they say about the whole mesh holds\n", f.Type)
		}
	}
	if len(e.Answers) == 0 {
		b.WriteString(proxy + "\n  nothing is in force on the proxy as a whole\n")
	}
	_, err := io.WriteString(to, b.String())
	return err
}

// where returns the place of a verdict, to follow the name of the proxy.
func (f verdict) where() string {
	switch {
	case f.Destination != nil:
		d := f.Destination
		return " to " + destination(policy.EffectiveTo{Kind: d.Kind, Name: d.Name, Namespace: d.Namespace, Zone: d.Zone, Section: d.Section})
	case f.Inbound != nil:
		return strings.TrimRight(" inbound "+f.Inbound.Name, " ") + " :" + strconv.FormatUint(uint64(f.Inbound.Port), 10)
	}
	return " as a whole"
}

func (f verdict) write(b *strings.Builder) {
	field := strings.TrimSpace(f.Type + " " + f.Field)
	holds := ""
	if f.Default != "" {
		holds = "; the default is " + f.Default
	}
	switch {
	case f.State == stateSet:
		fmt.Fprintf(b, "  %s is %s%s\n", field, text(f.Value), policy.Clients(f.Matchers))
		fmt.Fprintf(b, "    %s set it%s\n", byOrigin(*f.Origin), itemOf(*f.Origin))
	case f.State == stateRemoved:
		fmt.Fprintf(b, "  %s is not set%s%s\n", field, policy.Clients(f.Matchers), holds)
		fmt.Fprintf(b, "    %s removed it (null)%s\n", byOrigin(*f.Origin), itemOf(*f.Origin))
	case f.Type == "":
		b.WriteString("  no policy is in force; --type KIND tells why those of a kind are not\n")
	case f.Field == "":
		fmt.Fprintf(b, "  no %s is in force\n", f.Type)
	default:
		fmt.Fprintf(b, "  %s is set by no policy%s\n", field, holds)
	}
	for _, l := range f.Losers {
		said := "said " + text(l.Value)
		if l.Value == nil {
			said = "removed it (null)"
		}
		if l.Path != "" {
			said += " for " + l.Path
		}
		fmt.Fprintf(b, "    %s %s%s and lost by %s: %s\n", byOrigin(l.Origin), said, itemOf(l.Origin), l.By, l.Because)
	}
	for _, o := range f.Others {
		fmt.Fprintf(b, "    %s: %s\n", by(o.Name, o.Namespace, o.Zone, o.Role), o.Reason)
	}
	if f.State == stateUnset && f.Type != "" && len(f.Others) == 0 {
		fmt.Fprintf(b, "    there is no %s in the mesh\n", f.Type)
	}
}
