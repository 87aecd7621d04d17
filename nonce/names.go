package nonce

import (
	"bytes"
	"encoding/json"
	"unicode/utf8"
)

// maxDepth bounds how deep objects and lists of a value may lie in one another: ours in two.
const maxDepth = 16

// checkNames refuses a value that readers in two languages could take for different things: one that is not UTF-8, and one
// with an object that has a name twice or a name beyond a-z, 0-9 and _. Go takes the last of equal names, and reads Kind as
// kind; others do neither.
func checkNames(value []byte) error {
	if !utf8.Valid(value) {
		return refuse(Malformed, "value is not UTF-8")
	}
	var open []map[string]bool // of each object that is open, the names seen; nil for a list
	isName := false            // the next token is a name
	d := json.NewDecoder(bytes.NewReader(value))
	d.UseNumber()
	for {
		token, err := d.Token()
		if err != nil {
			return nil // at the end; or no JSON, which decoding will say better
		}
		switch token := token.(type) {
		case json.Delim:
			switch token {
			case '{':
				open = append(open, map[string]bool{})
			case '[':
				open = append(open, nil)
			default:
				open = open[:len(open)-1]
			}
			if len(open) > maxDepth {
				return refuse(TooLarge, "value is more than %d deep", maxDepth)
			}
		case string:
			if isName {
				if err := checkName(token, open[len(open)-1]); err != nil {
					return err
				}
				isName = false
				continue // its value follows
			}
		}
		isName = len(open) > 0 && open[len(open)-1] != nil
	}
}

// checkName adds a name to those seen in its object.
func checkName(name string, seen map[string]bool) error {
	for i := range len(name) {
		if c := name[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '_' {
			return refuse(Malformed, "name %.40q has other than a-z, 0-9 and _", name)
		}
	}
	if seen[name] {
		return refuse(Malformed, "name %.40q comes twice in one object", name)
	}
	seen[name] = true
	return nil
}
