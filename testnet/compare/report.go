package main

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"strings"
	"text/tabwriter"
)

// figure is one number of a contender.
type figure struct {
	name   string // as the column has it, and JSON with _ for spaces
	value  float64
	unit   string // "s", "B/s", "% of a core", "MiB"; "": a count
	digits int    // behind the point
	ratio  bool   // to be shown against the reference too
}

// row is a contender in one measure.
type row struct {
	contender string
	figures   []figure // none: see note
	note      string   // why there are no figures
}

// table is one measure of all contenders. The rows that have figures have the same ones in the same order.
type table struct {
	measure string
	what    string // what was done, in words
	nodes   int
	rows    []row
}

// against is f as a multiple of the reference's figure of that name; ok is false when there is nothing to divide by.
func (t table) against(contender string, f figure) (ratio float64, ok bool) {
	if !f.ratio || contender == reference || math.IsNaN(f.value) {
		return 0, false
	}
	for _, r := range t.rows {
		if r.contender != reference {
			continue
		}
		for _, g := range r.figures {
			if g.name == f.name && g.value > 0 {
				return f.value / g.value, true
			}
		}
	}
	return 0, false
}

// writeText writes the table as people read it. A figure that is a ratio to the reference's has it in parentheses.
func (t table) writeText(w io.Writer) error {
	fmt.Fprintf(w, "%s, %d nodes: %s\n", t.measure, t.nodes, t.what)
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, r := range t.rows {
		if len(r.figures) > 0 {
			header := []string{""}
			for _, f := range r.figures {
				header = append(header, f.name)
			}
			fmt.Fprintln(tw, strings.Join(header, "\t"))
			break
		}
	}
	for _, r := range t.rows {
		if len(r.figures) == 0 {
			continue
		}
		cells := []string{r.contender}
		for _, f := range r.figures {
			cell := f.text()
			if ratio, ok := t.against(r.contender, f); ok {
				cell += fmt.Sprintf(" (%s x)", shortRatio(ratio))
			}
			cells = append(cells, cell)
		}
		fmt.Fprintln(tw, strings.Join(cells, "\t"))
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	for _, r := range t.rows {
		if r.note != "" {
			fmt.Fprintf(w, "%s: %s\n", r.contender, r.note)
		}
	}
	_, err := fmt.Fprintln(w)
	return err
}

func (f figure) text() string {
	if math.IsNaN(f.value) {
		return "-"
	}
	s := fmt.Sprintf("%.*f", f.digits, f.value)
	if f.unit != "" {
		s += " " + f.unit
	}
	return s
}

// shortRatio has two digits that count.
func shortRatio(r float64) string {
	switch {
	case r < 0.095:
		return fmt.Sprintf("%.3f", r)
	case r < 0.95:
		return fmt.Sprintf("%.2f", r)
	case r < 9.5:
		return fmt.Sprintf("%.1f", r)
	default:
		return fmt.Sprintf("%.0f", r)
	}
}

// line is a row as JSON.
type line struct {
	Measure   string              `json:"measure"`
	Nodes     int                 `json:"nodes"`
	Contender string              `json:"contender"`
	Figures   map[string]*float64 `json:"figures,omitempty"` // null: none, as of a death that nobody saw
	Against   map[string]float64  `json:"against_p2pnode,omitempty"`
	Note      string              `json:"note,omitempty"`
}

// writeJSON writes a line of JSON a row.
func (t table) writeJSON(w io.Writer) error {
	enc := json.NewEncoder(w)
	for _, r := range t.rows {
		l := line{Measure: t.measure, Nodes: t.nodes, Contender: r.contender, Note: r.note,
			Figures: map[string]*float64{}, Against: map[string]float64{}}
		for _, f := range r.figures {
			l.Figures[f.key()] = nil
			if !math.IsNaN(f.value) {
				l.Figures[f.key()] = &f.value
			}
			if ratio, ok := t.against(r.contender, f); ok {
				l.Against[f.key()] = ratio
			}
		}
		if err := enc.Encode(l); err != nil {
			return err
		}
	}
	return nil
}

// unitKeys are units as JSON names have them.
var unitKeys = map[string]string{"": "", "s": "_s", "B/s": "_bytes_per_s", "% of a core": "_percent", "MiB": "_mib"}

func (f figure) key() string {
	return strings.ReplaceAll(strings.ReplaceAll(f.name, ",", ""), " ", "_") + unitKeys[f.unit]
}
