package show

import (
	_ "embed"
	"encoding/csv"
	"html/template"
	"io"
	"strings"

	"github.com/meridian-mesh/meridian/sim"
)

// Matrix is a table with a word in each cell.
type Matrix struct {
	Title   string
	Corner  string // what the rows are
	Columns []string
	Rows    []MatrixRow
}

// MatrixRow is one row; it has a cell for each column.
type MatrixRow struct {
	Name  string
	Cells []MatrixCell
}

// MatrixCell is one cell.
type MatrixCell struct {
	Text  string // "" shows as -
	Class string // of its colour: good, weak, off; "": none
	Note  string // why
}

// Colours of cells.
const (
	classGood = "good" // it is in force
	classWeak = "weak" // others are stronger
	classOff  = "off"  // it is not there, or has no say
)

// PolicyMatrix returns what policies come to by zone.
func PolicyMatrix(title string, rows []sim.PolicyRow) Matrix {
	m := Matrix{Title: title, Corner: "policy"}
	for i, row := range rows {
		of := MatrixRow{Name: row.Policy}
		if row.Shadow {
			of.Name += " (shadow)"
		}
		for _, cell := range row.Cells {
			if i == 0 {
				m.Columns = append(m.Columns, cell.Zone)
			}
			class := classOff
			switch cell.State {
			case sim.CellWins:
				class = classGood
			case sim.CellMasked:
				class = classWeak
			}
			of.Cells = append(of.Cells, MatrixCell{CellText(cell), class, CellNote(cell)})
		}
		m.Rows = append(m.Rows, of)
	}
	return m
}

// ValueCell returns the cell of a value in force; note says whose it is.
func ValueCell(value any, note string) MatrixCell {
	return MatrixCell{sim.ValueText(value), classGood, note}
}

func (c MatrixCell) text() string {
	if c.Text == "" {
		return "-"
	}
	return c.Text
}

// Write writes the matrix as text, csv or html.
func (m Matrix) Write(w io.Writer, form string) error {
	switch form {
	case "csv":
		return m.csv(w)
	case "html":
		return page.Execute(w, m)
	}
	return m.table(w)
}

func (m Matrix) lines(corner string, column func(string) string, cell func(MatrixCell) string) [][]string {
	head := []string{corner}
	for _, c := range m.Columns {
		head = append(head, column(c))
	}
	all := [][]string{head}
	for _, row := range m.Rows {
		line := []string{row.Name}
		for _, c := range row.Cells {
			line = append(line, cell(c))
		}
		all = append(all, line)
	}
	return all
}

func (m Matrix) table(w io.Writer) error {
	lines := aligned(m.lines(strings.ToUpper(m.Corner), strings.ToUpper, MatrixCell.text))
	_, err := io.WriteString(w, m.Title+"\n\n"+strings.Join(lines, "\n")+"\n")
	return err
}

func (m Matrix) csv(w io.Writer) error {
	same := func(s string) string { return s }
	return csv.NewWriter(w).WriteAll(m.lines(m.Corner, same, func(c MatrixCell) string { return c.Text }))
}

//go:embed matrix.html
var pageText string

// page is one file that needs nothing else.
var page = template.Must(template.New("matrix").Parse(pageText))

// Notes returns the notes of the matrix with where they are, each once, in the order of the rows.
func (m Matrix) Notes() []string {
	var all []string
	for _, row := range m.Rows {
		for i, c := range row.Cells {
			if c.Note != "" {
				all = append(all, row.Name+", "+m.Columns[i]+": "+c.Note)
			}
		}
	}
	return all
}
