package main

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/meridian-mesh/meridian/cmd/internal/config"
)

// The parts of SARIF 2.1.0 that a list of findings needs.
type (
	sarifLog struct {
		Schema  string     `json:"$schema"`
		Version string     `json:"version"`
		Runs    []sarifRun `json:"runs"`
	}
	sarifRun struct {
		Tool struct {
			Driver sarifDriver `json:"driver"`
		} `json:"tool"`
		Results []sarifResult `json:"results"`
	}
	sarifDriver struct {
		Name    string      `json:"name"`
		Version string      `json:"version"`
		Rules   []sarifRule `json:"rules"`
	}
	sarifRule struct {
		ID               string     `json:"id"`
		ShortDescription sarifText  `json:"shortDescription"`
		Help             *sarifText `json:"help,omitempty"`
	}
	sarifText struct {
		Text string `json:"text"`
	}
	sarifResult struct {
		RuleID    string          `json:"ruleId"`
		RuleIndex int             `json:"ruleIndex"`
		Level     string          `json:"level"`
		Message   sarifText       `json:"message"`
		Locations []sarifLocation `json:"locations"`
	}
	sarifLocation struct {
		Physical struct {
			Artifact struct {
				URI string `json:"uri"`
			} `json:"artifactLocation"`
			Region *sarifRegion `json:"region,omitempty"`
		} `json:"physicalLocation"`
	}
	sarifRegion struct {
		StartLine   int `json:"startLine"`
		StartColumn int `json:"startColumn,omitempty"`
	}
)

// sarif returns findings in the form that code scanning tools read.
func sarif(rules []rule, findings []finding) sarifLog {
	run := sarifRun{Results: []sarifResult{}}
	run.Tool.Driver = sarifDriver{Name: "meridian", Version: config.Version}
	index := map[string]int{}
	for i, rule := range rules {
		index[rule.id] = i
		shown := sarifRule{ID: rule.id, ShortDescription: sarifText{rule.text}}
		if rule.help != "" {
			shown.Help = &sarifText{rule.help}
		}
		run.Tool.Driver.Rules = append(run.Tool.Driver.Rules, shown)
	}
	for _, f := range findings {
		var where sarifLocation
		where.Physical.Artifact.URI = fileURI(f.File)
		if f.Line > 0 {
			where.Physical.Region = &sarifRegion{f.Line, f.Column}
		}
		run.Results = append(run.Results, sarifResult{f.Rule, index[f.Rule], f.Level, sarifText{f.message()}, []sarifLocation{where}})
	}
	return sarifLog{"https://json.schemastore.org/sarif-2.1.0.json", "2.1.0", []sarifRun{run}}
}

// localFile returns file relative to the working directory if it is below it: reviewers' tools know files by that name.
func localFile(file string) string {
	if dir, err := os.Getwd(); err == nil && filepath.IsAbs(file) {
		if rel, err := filepath.Rel(dir, file); err == nil && filepath.IsLocal(rel) {
			file = rel
		}
	}
	return filepath.ToSlash(file)
}

func fileURI(file string) string {
	u := url.URL{Path: localFile(file)}
	if strings.HasPrefix(u.Path, "/") {
		u.Scheme = "file"
	}
	return u.String()
}

// github returns the finding as a workflow command of GitHub, which shows it beside the line.
func (f finding) github() string {
	params := []string{"file=" + githubProperty(localFile(f.File))}
	if f.Line > 0 {
		params = append(params, fmt.Sprintf("line=%d", f.Line))
	}
	if f.Column > 0 {
		params = append(params, fmt.Sprintf("col=%d", f.Column))
	}
	title := strings.Join(slices.DeleteFunc([]string{f.Resource, f.Rule}, func(s string) bool { return s == "" }), " ")
	params = append(params, "title="+githubProperty(title))
	level := f.Level
	if level == levelNote {
		level = "notice" // as GitHub calls it
	}
	return fmt.Sprintf("::%s %s::%s", level, strings.Join(params, ","), githubText.Replace(f.message()))
}

var githubText = strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A")

func githubProperty(s string) string {
	return strings.NewReplacer(":", "%3A", ",", "%2C").Replace(githubText.Replace(s))
}
