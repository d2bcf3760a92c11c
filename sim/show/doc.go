// Package show writes what came of scenarios: for people, for CI systems (JUnit, TAP 14, JSON lines), and as a matrix
// for tables, spreadsheets and a page that can be sent to a colleague.
//
//	cases := []show.Case{{File: s.File, Name: s.Name, Result: result}}
//	err := show.JUnit(os.Stdout, cases)
//
// The nouns:
//
//   - Case: a scenario with its result, or with the error for which there is none.
//   - Check: one thing about a case that held or did not: an expectation, an invariant, that it converged, that it ran.
//   - Matrix: policies by zones, or sources by destinations, with a word in each cell.
//   - Coverage: what no scenario has ever put to the test.
//
// Every writer is a function of its arguments: no file, no clock, no network. Equal cases give equal text but for durations.
//
// Not here: exit codes, SARIF and GitHub annotations, which are the same for all commands (cmd/meridian).
package show
