package main

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/pelletier/go-toml/v2"

	"github.com/p2pnode/p2pnode/node"
)

// checkTOML reports what is wrong with the text of a configuration file before any of it is used: its syntax, keys that
// do not exist, values of another type. The excerpts with their markers are go-toml's.
func checkTOML(file string, text []byte) error {
	into := reflect.New(mirror(reflect.TypeFor[node.Config]()))
	err := toml.NewDecoder(bytes.NewReader(text)).DisallowUnknownFields().Decode(into.Interface())
	var unknown *toml.StrictMissingError
	var wrong *toml.DecodeError
	switch {
	case err == nil:
		return badDurations(file, into.Elem())
	case errors.As(err, &unknown):
		return unknownKeys(file, unknown)
	case errors.As(err, &wrong):
		return wrongValue(file, wrong)
	default:
		return node.NewError(node.CodeBadConfig, err, fmt.Sprintf("%s: %v", file, err), "")
	}
}

// mirror is the type of a configuration in which durations are text, as they are in a file; nil when absent.
func mirror(t reflect.Type) reflect.Type {
	switch {
	case t == reflect.TypeFor[time.Duration]():
		return reflect.TypeFor[*string]()
	case t.Kind() != reflect.Struct:
		return t
	}
	var fields []reflect.StructField
	for i := range t.NumField() {
		f := t.Field(i)
		fields = append(fields, reflect.StructField{Name: f.Name, Type: mirror(f.Type), Tag: f.Tag})
	}
	return reflect.StructOf(fields)
}

// badDurations tells of every duration of a mirror that cannot be read.
func badDurations(file string, read reflect.Value) error {
	cause := &node.ConfigError{}
	for _, s := range settings() {
		text, ok := valueOf(read, s.key).Interface().(*string)
		if !ok || text == nil {
			continue
		}
		if _, err := parseDuration(*text); err != nil {
			cause.Faults = append(cause.Faults, node.Fault{Field: s.key, Value: strconv.Quote(*text), Want: err.Error()})
		}
	}
	if len(cause.Faults) == 0 {
		return nil
	}
	return node.NewError(node.CodeBadConfig, cause, file+": "+cause.Error(), "")
}

// unknownKeys tells of every key that means nothing, with one suggestion for each.
func unknownKeys(file string, e *toml.StrictMissingError) error {
	var names, excerpts, meant []string
	for i := range e.Errors {
		key := strings.Join(e.Errors[i].Key(), ".")
		names = append(names, fmt.Sprintf("%q", key))
		excerpts = append(excerpts, strings.ReplaceAll(excerpt(&e.Errors[i]), "unknown field", "unknown key"))
		if best := likelyKey(key); best != "" {
			meant = append(meant, fmt.Sprintf("%q", best))
		}
	}
	what := "unknown key "
	if len(names) > 1 {
		what = "unknown keys "
	}
	hint := ""
	if len(meant) > 0 {
		hint = "did you mean " + strings.Join(meant, " and ") + "?"
	}
	return node.NewError(node.CodeUnknownConfigKey, e,
		what+strings.Join(names, ", ")+" in "+file+"\n"+strings.Join(excerpts, "\n---\n"), hint)
}

// likelyKey is the key that was meant by one that does not exist: the same one in another section, or one spelt alike.
func likelyKey(key string) string {
	var keys []string
	last, best := key[strings.LastIndexByte(key, '.')+1:], ""
	for _, s := range settings() {
		if strings.HasSuffix(s.key, "."+last) && (best == "" || edits(key, s.key) < edits(key, best)) {
			best = s.key
		}
		keys = append(keys, s.key)
	}
	if best != "" {
		return best
	}
	if best := closest(key, keys); best != "" {
		return best
	}
	// A key at the top level, where its section was forgotten as well.
	for _, k := range keys {
		if _, name, ok := strings.Cut(k, "."); ok && closest(last, []string{name}) != "" {
			return k
		}
	}
	return ""
}

// wrongValue tells of a value of another type, in our words: go-toml's name Go types.
func wrongValue(file string, e *toml.DecodeError) error {
	message := strings.TrimPrefix(e.Error(), "toml: ")
	key, said := strings.Join(e.Key(), "."), message
	for _, s := range settings() {
		if s.key != key || !strings.HasPrefix(message, "cannot decode") {
			continue
		}
		said = "must be " + kindOf(s.typ)
	}
	shown := strings.ReplaceAll(excerpt(e), message, said)
	line, _ := e.Position()
	what := fmt.Sprintf("%s:%d: ", file, line)
	if key != "" {
		what += key + " "
	}
	return node.NewError(node.CodeBadConfig, e, what+said+"\n"+shown, "")
}

func excerpt(e *toml.DecodeError) string { return strings.TrimRight(e.String(), "\n") }
