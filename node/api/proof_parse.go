package api

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"unicode/utf8"

	"github.com/p2pnode/p2pnode/gossipstate/replica"
)

// ParseProof reads a Proof as JSON, as a node writes it or laid out otherwise, and checks its form as Open does. Every field
// must be there once and under its exact name, only text may be missing, and nothing else may; numbers and bytes have one
// spelling. So no two readers of a document that passes see different fields. An error names the field.
func ParseProof(document []byte) (Proof, error) {
	switch {
	case len(document) > MaxProof:
		return Proof{}, fmt.Errorf("is larger than %d KiB", MaxProof>>10)
	case !utf8.Valid(document):
		return Proof{}, errors.New("is not UTF-8")
	}
	var p Proof
	err := readObject(document, map[string]any{
		"schema": &p.Schema, "network": &p.Network, "topic": &p.Topic, "owner": &p.Owner, "key": &p.Key,
		"value": (*nullBytes)(&p.Value), "text": &p.Text, "version": &p.Version, "clock": &p.Clock, "deleted": &p.Deleted,
		"content_type": &p.ContentType, "written": &p.Written, "expires": &p.Expires, "ext": &p.Ext, "digest": &p.Digest,
		"signature": &p.Signature, "path": &p.Path,
	})
	if err != nil {
		return Proof{}, err
	}
	if _, _, err := p.Open(); err != nil {
		return Proof{}, err
	}
	return p, nil
}

// nullBytes are bytes that may be null.
type nullBytes []byte

// readObject reads a JSON object into fields, pointers by name.
func readObject(text []byte, fields map[string]any) error {
	in := json.NewDecoder(bytes.NewReader(text))
	if begin, err := in.Token(); err != nil || begin != json.Delim('{') {
		return errors.New("is not a JSON object")
	}
	seen := map[string]bool{}
	for in.More() {
		name, raw, err := readMember(in)
		if err != nil {
			return err
		}
		field, known := fields[name]
		switch {
		case !known:
			return fmt.Errorf("has an unknown field %q", clip(name))
		case seen[name]:
			return fmt.Errorf("%s: is there twice", name)
		}
		seen[name] = true
		if err := readField(raw, field); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	if _, err := in.Token(); err != nil {
		return broken(err)
	}
	if _, err := in.Token(); !errors.Is(err, io.EOF) {
		return errors.New("is followed by something else")
	}
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		if _, optional := fields[name].(**string); !seen[name] && !optional {
			return fmt.Errorf("%s: is missing", name)
		}
	}
	return nil
}

func readMember(in *json.Decoder) (name string, raw json.RawMessage, err error) {
	token, err := in.Token()
	if err != nil {
		return "", nil, broken(err)
	}
	if err := in.Decode(&raw); err != nil {
		return "", nil, broken(err)
	}
	return token.(string), raw, nil // a decoder takes only strings as names
}

// broken says that the text is no JSON.
func broken(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("ends too early")
	}
	return fmt.Errorf("is not JSON: %w", err)
}

// readField reads one value into a pointer, in the one spelling that the API uses for its type.
func readField(raw json.RawMessage, field any) error {
	switch field := field.(type) {
	case *bool:
		if *field = string(raw) == "true"; !*field && string(raw) != "false" {
			return errors.New("must be true or false")
		}
		return nil
	case *uint8:
		n, err := strconv.ParseUint(string(raw), 10, 8)
		if err != nil {
			return errors.New("must be a number from 0 to 255")
		}
		*field = uint8(n)
		return nil
	case *[]ProofStep:
		return readSteps(raw, field)
	case *parts:
		return readParts(raw, field)
	case *nullBytes:
		if string(raw) == "null" {
			return nil
		}
		return readString(raw, (*[]byte)(field))
	case **string:
		*field = new(string)
		return readString(raw, *field)
	}
	return readString(raw, field)
}

// readString reads a value that JSON has as a string.
func readString(raw json.RawMessage, field any) error {
	var s string
	if err := json.Unmarshal(raw, &s); err != nil || raw[0] != '"' {
		return errors.New("must be a string")
	}
	switch field := field.(type) {
	case *string:
		*field = s
	case *Uint64:
		if err := field.UnmarshalText([]byte(s)); err != nil {
			return err
		}
		if field.String() != s {
			return fmt.Errorf("%q must be %q", clip(s), field)
		}
	case *[]byte:
		b, err := base64.StdEncoding.DecodeString(s)
		if err != nil || base64.StdEncoding.EncodeToString(b) != s { // the decoder skips line ends and stray bits
			return errors.New("must be base64")
		}
		*field = b
	default:
		panic(fmt.Sprintf("api: a field of type %T", field))
	}
	return nil
}

// readSteps reads a list of objects, no more than a path may have.
func readSteps(raw json.RawMessage, steps *[]ProofStep) error {
	in := json.NewDecoder(bytes.NewReader(raw))
	if begin, err := in.Token(); err != nil || begin != json.Delim('[') {
		return errors.New("must be a list")
	}
	*steps = []ProofStep{}
	for in.More() {
		if len(*steps) == maxProofSteps {
			return fmt.Errorf("has more than %d steps", maxProofSteps)
		}
		var element json.RawMessage
		if err := in.Decode(&element); err != nil {
			return broken(err)
		}
		var step ProofStep
		if err := readObject(element, map[string]any{"bit": &step.Bit, "sibling": &step.Sibling}); err != nil {
			return fmt.Errorf("step %d: %w", len(*steps), err)
		}
		*steps = append(*steps, step)
	}
	return nil
}

// readParts reads a list of bytes, no more than a snapshot may have.
func readParts(raw json.RawMessage, all *parts) error {
	in := json.NewDecoder(bytes.NewReader(raw))
	if begin, err := in.Token(); err != nil || begin != json.Delim('[') {
		return errors.New("must be a list")
	}
	*all = parts{}
	for in.More() {
		if len(*all) == replica.MaxParts {
			return fmt.Errorf("has more than %d parts", replica.MaxParts)
		}
		var element json.RawMessage
		if err := in.Decode(&element); err != nil {
			return broken(err)
		}
		var b []byte
		if err := readString(element, &b); err != nil {
			return fmt.Errorf("part %d: %w", len(*all)+1, err)
		}
		*all = append(*all, b)
	}
	return nil
}
