package sim

import (
	"encoding/json"

	"github.com/meridian-mesh/meridian/sim/planes"
)

type schema = map[string]any

// Schema returns the JSON Schema of scenario files, for editors; docs/schemas/scenario.json is what it returns. It says what fields there are and
// which words they take. That names are of something that is there, Load says.
func Schema() []byte {
	var invariants []string
	for _, i := range planes.Invariants() {
		invariants = append(invariants, string(i))
	}
	labels := schema{"type": "object", "additionalProperties": scalarSchema()}
	service := objectSchema("A MeshService, and the proxies behind it.", schema{
		"namespace": text("Of the service and its proxies."),
		"port":      number("Of the service and its proxies; 80 if it is not given.", 1, 65535),
		"portName":  text("A section that policies can name."),
		"protocol":  words("http if it is not given.", protocols),
		"count":     number("How many proxies are behind it; 1 if it is not given.", 0, mostCopies),
		"labels":    labels, "tags": labels,
	})
	proxy := objectSchema("Some equal Dataplanes.", schema{
		"namespace": text("Of the proxies."),
		"count":     number("How many; they are called NAME-0, NAME-1 and so on. One, called NAME, if it is not given.", 0, mostCopies),
		"port":      number("Of the inbound; 8080 if it is not given.", 1, 65535),
		"protocol":  words("http if it is not given.", protocols),
		"labels":    labels, "tags": labels,
	})
	documents := schema{"type": "array", "items": schema{"$ref": "meridian.json"}, "description": "Whole documents, in either form."}
	zone := objectSchema("A zone, and what is written in it.", schema{
		"version":   text("That the zone says it has."),
		"without":   listOf("Features that the zone does not announce, as an older build would not.", planes.Features()),
		"include":   textOrTexts("Manifests, relative to this file; ** is any number of folders."),
		"resources": documents,
		"services":  mapOf(schema{"$ref": "#/$defs/service"}),
		"proxies":   mapOf(schema{"$ref": "#/$defs/proxy"}),
	})
	zone["type"] = []string{"object", "null"}
	target := schema{"description": "A name (namespace/name, name:section), the fields of a targetRef, or nothing.", "type": []string{"string", "object", "null"}}
	policyFields := schema{
		"kind": words("Of the policy.", policyKinds()), "mesh": text("That of the scenario if it is not given."), "labels": labels,
		"targetRef": schema{"type": "object"}, "to": schema{"type": "array"}, "from": schema{"type": "array"}, "rules": schema{"type": "array"},
		"default": schema{}, "spec": schema{"type": "object"},
	}
	for _, kind := range targetKinds {
		policyFields[kind] = target
	}
	policy := objectSchema("A policy; the key says where it is written: zone/namespace/name, zone/name, or global/name, with @mesh if it is another mesh.", policyFields)
	policy["required"] = []string{"kind"}
	expectations := func(step bool) schema {
		fields := schema{
			"id":   text("What outcomes call it."),
			"role": mapOf(words("Of the policy.", roles)),
			"synced": objectSchema("Which control planes have a policy.", schema{
				"policy": text("Its key."), "to": textOrTexts("Control planes that have it."),
				"only": textOrTexts("Control planes that have it, and no others but its own."),
				"notTo": schema{"description": "Control planes that do not, and by which rule.", "anyOf": []any{
					schema{"type": []string{"string", "array"}}, mapOf(words("", ruleIDs())),
				}},
			}),
			"effective": objectSchema("Values that are in force.", schema{
				"proxy": textOrTexts("Patterns zone/namespace/name[@mesh]."), "type": words("Of policy.", policyKinds()),
				"to": text("The key of a service (zone/namespace/name[@mesh]), key:section, or mesh."), "inbound": text("Name or port."),
				"listener": text("Of a builtin gateway: port, host, or host:port. Without to: what it takes."),
				"set":      schema{"type": "object", "description": "Values by path; null: not set.", "minProperties": 1},
				"from":     text("The key of the policy that gives them."),
			}),
			"matches":  mapOf(textOrTexts("The proxies that a policy selects, and no others.")),
			"warnings": mapOf(listOf("What its control plane says about it.", warningCodes())),
		}
		if step {
			fields["changed"] = schema{"anyOf": []any{schema{"const": "nothing"}, objectSchema("What the step changes in force, and nothing else.", schema{
				"proxies": textOrTexts("Patterns zone/namespace/name[@mesh]."), "types": listOf("Of policy; any if not given.", policyKinds()),
			})}}
			fields["stale"] = objectSchema("A zone has an old version of a policy, or none.", schema{"zone": text(""), "policy": text("")})
			fields["convergedWithin"] = text("A duration.")
			fields["noGhosts"] = text("A zone of which nothing is left anywhere.")
		}
		return schema{"type": "array", "items": objectSchema("One thing that is to hold.", fields)}
	}
	zones := func(description string) schema { return textOrTexts(description) }
	step := objectSchema("One thing that happens, and what is expected then.", schema{
		"at":     text("After the federation was made and had settled; a second after the step before if it is not given."),
		"expect": expectations(true),
		"apply": schema{"description": "By key: a policy, or paths and values that change one. Or keys of what is written as it was at first.", "anyOf": []any{
			textOrTexts(""),
			schema{"type": "object", "additionalProperties": schema{"anyOf": []any{schema{"$ref": "#/$defs/policy"}, schema{"type": "object", "minProperties": 1}}}},
		}},
		"delete":    textOrTexts("Keys of policies, or of other resources after their kind."),
		"partition": zones("Zones whose links to global are cut."),
		"heal":      zones("Zones whose links are whole again, or all."),
		"stall": schema{"description": "Zones whose links fall silent.", "anyOf": []any{schema{"type": []string{"string", "array"}}, objectSchema("", schema{
			"zone": textOrTexts(""), "direction": words("Both if it is not given.", []string{"up", "down"}),
		})}},
		"cutAfter": objectSchema("Zones whose links are cut in the middle of what is going on.", schema{
			"zone": textOrTexts(""), "direction": words("Each for itself if it is not given.", []string{"up", "down"}),
			"pieces": number("Of data that pass until then.", 1, maxPieces),
		}),
		"crash":      zones("Control planes whose processes end."),
		"restart":    zones("Control planes whose processes come back over their stores."),
		"removeZone": zones("Zones that end for ever, and that global deletes."),
		"addZone":    mapOf(schema{"$ref": "#/$defs/zone"}),
		"skew": mapOf(objectSchema("What the zone comes back as, over its store.", schema{
			"version": text(""), "without": listOf("", planes.Features()),
		})),
	})
	root := objectSchema("A federation, what happens to it, and what is expected. docs/reference/scenario.md explains it.", schema{
		"scenario": text("What it shows, in a sentence."), "seed": schema{"type": "integer", "minimum": 0},
		"mesh": text("default if it is not given."), "folder": text("A folder with global/ and zones/<zone>/, relative to this file."),
		"include": textOrTexts("Manifests that are written on global."), "resources": documents,
		"zones": mapOf(schema{"$ref": "#/$defs/zone"}), "policies": mapOf(schema{"$ref": "#/$defs/policy"}),
		"expect": expectations(false), "steps": schema{"type": "array", "items": step},
		"invariants": listOf("What is checked at the end; all of them if it is not given.", invariants),
	})
	root["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	root["title"] = "Meridian scenario"
	root["$defs"] = schema{"zone": zone, "service": service, "proxy": proxy, "policy": policy}
	out, err := json.MarshalIndent(root, "", " ")
	if err != nil {
		panic(err) // it is a literal
	}
	return append(out, '\n')
}

func scalarSchema() schema { return schema{"type": []string{"string", "number", "boolean"}} }

func described(s schema, description string) schema {
	if description != "" {
		s["description"] = description
	}
	return s
}

func text(description string) schema { return described(scalarSchema(), description) }

func number(description string, least, most int) schema {
	return described(schema{"type": "integer", "minimum": least, "maximum": most}, description)
}

func words(description string, of []string) schema { return described(schema{"enum": of}, description) }

func textOrTexts(description string) schema {
	return described(schema{"anyOf": []any{scalarSchema(), schema{"type": "array", "items": scalarSchema()}}}, description)
}

func listOf(description string, of []string) schema {
	return described(schema{"anyOf": []any{schema{"enum": of}, schema{"type": "array", "items": schema{"enum": of}}}}, description)
}

func mapOf(value schema) schema { return schema{"type": "object", "additionalProperties": value} }

func objectSchema(description string, fields schema) schema {
	return described(schema{"type": "object", "properties": fields, "additionalProperties": false}, description)
}
