package main

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
)

// none stands in a table for what is not known or not there.
const none = "-"

// rows is a table for people: a line of headings, columns two spaces apart, no lines drawn.
type rows struct {
	app *app
	w   table.Writer
}

func (a *app) table(headings ...string) *rows {
	w := table.NewWriter()
	w.SetStyle(table.Style{
		Name:    "p2pnode",
		Box:     table.BoxStyle{PaddingRight: "  "},
		Format:  table.FormatOptions{Header: text.FormatDefault},
		Options: table.OptionsNoBordersAndSeparators,
	})
	w.SuppressTrailingSpaces()
	header := make(table.Row, len(headings))
	for i, h := range headings {
		header[i] = h
	}
	w.AppendHeader(header)
	return &rows{app: a, w: w}
}

func (r *rows) row(cells ...any) { r.w.AppendRow(cells) }

func (r *rows) write() error {
	_, err := fmt.Fprintln(r.app.out, r.w.Render())
	return err
}

// status colours a member's status or a job's state; the word says the same.
func (a *app) status(s string) string {
	if !a.colors() {
		return s
	}
	switch word, _, _ := strings.Cut(s, " "); word {
	case "alive", "done", "up", "ok":
		return text.FgGreen.Sprint(s)
	case "suspect", "running", "silent", "warn":
		return text.FgYellow.Sprint(s)
	case "dead", "failed", "killed", "FAIL":
		return text.FgRed.Sprint(s)
	default:
		return text.Faint.Sprint(s)
	}
}

// shortID is a peer id as tables show it: its first 4 and last 4 characters.
func shortID(id string) string {
	if len(id) <= 12 {
		return plain(id)
	}
	return plain(id[:4] + "…" + id[len(id)-4:])
}

// shortHash is a hash as tables show it.
func shortHash(h string) string { return shortID(h) }

// plain makes text from elsewhere safe to show: what would not print, such as the escape sequences that steer a
// terminal, is written as \x1b and the like.
func plain(s string) string {
	if utf8.ValidString(s) && strings.IndexFunc(s, unprintable) < 0 {
		return s
	}
	quoted := strconv.Quote(s)
	return strings.ReplaceAll(quoted[1:len(quoted)-1], `\"`, `"`)
}

func unprintable(r rune) bool { return !unicode.IsPrint(r) }

// cell is plain text of at most width runes; none for the empty string.
func cell(s string, width int) string {
	if s == "" {
		return none
	}
	r := []rune(plain(s))
	if len(r) <= width {
		return string(r)
	}
	return string(r[:width-1]) + "…"
}

// size is a number of bytes for people.
func size(n int) string {
	if n < 1024 {
		return fmt.Sprintf("%d B", n)
	}
	f, units := float64(n)/1024, []string{"KiB", "MiB", "GiB", "TiB"}
	for len(units) > 1 && f >= 1023.95 {
		f, units = f/1024, units[1:]
	}
	return strings.Replace(fmt.Sprintf("%.1f %s", f, units[0]), ".0 ", " ", 1)
}

// span is a length of time for people, in its largest unit or two: 180ms, 9.5s, 3h12m, 5d.
func span(d time.Duration) string {
	switch {
	case d < 0:
		return "-" + span(-d)
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	case d < 10*time.Second:
		return strconv.FormatFloat(math.Floor(d.Seconds()*10)/10, 'f', -1, 64) + "s"
	case d < time.Minute:
		return fmt.Sprintf("%ds", d/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", d/time.Minute, d%time.Minute/time.Second)
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh%02dm", d/time.Hour, d%time.Hour/time.Minute)
	default:
		return fmt.Sprintf("%dd", d/(24*time.Hour))
	}
}

// offset is a difference of clocks in seconds for people, with its sign; none for nil.
func offset(s *float64) string {
	if s == nil {
		return none
	}
	if *s < 0 {
		return span(seconds(*s))
	}
	return "+" + span(seconds(*s))
}

// age is the time from t to now for people; none for the zero time. A clock that is ahead makes it "now".
func age(t, now time.Time) string {
	if t.IsZero() {
		return none
	}
	if d := now.Sub(t); d > 0 {
		return span(d)
	}
	return "now"
}

// group writes n in groups of three digits.
func group(n uint64) string {
	digits := strconv.FormatUint(n, 10)
	var b strings.Builder
	for i, d := range digits {
		if i > 0 && (len(digits)-i)%3 == 0 {
			b.WriteByte(' ')
		}
		b.WriteRune(d)
	}
	return b.String()
}

// rate is a number of nonces a second for people.
func rate(perSecond float64) string {
	switch {
	case perSecond >= 1e9:
		return fmt.Sprintf("%.2f Gn/s", perSecond/1e9)
	case perSecond >= 1e6:
		return fmt.Sprintf("%.2f Mn/s", perSecond/1e6)
	case perSecond >= 1e3:
		return fmt.Sprintf("%.1f kn/s", perSecond/1e3)
	case perSecond > 0:
		return fmt.Sprintf("%.0f n/s", perSecond)
	default:
		return none
	}
}

// share is done of total in percent. It says 100 only when nothing is left, and 0 only when nothing is done.
func share(done, total uint64) string {
	if total == 0 {
		return none
	}
	percent := 100 * float64(done) / float64(total)
	switch {
	case done < total && percent > 99.9:
		percent = 99.9
	case done > 0 && percent < 0.1:
		percent = 0.1
	}
	return fmt.Sprintf("%.1f %%", percent)
}

// parseDuration reads a duration above zero with its unit.
func parseDuration(s string) (time.Duration, error) {
	if _, err := strconv.ParseFloat(s, 64); err == nil {
		return 0, fmt.Errorf("has no unit: write %ss or %sm", s, s)
	}
	d, err := time.ParseDuration(s)
	if err != nil {
		return 0, errors.New("is not a duration: write 500ms, 5s, 5m or 1h30m")
	}
	if d <= 0 {
		return 0, errors.New("must be above zero")
	}
	return d, nil
}
