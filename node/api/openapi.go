package api

import (
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"strings"

	"github.com/danielgtaylor/huma/v2"
)

// Schema describes a Uint64, for huma.
func (Uint64) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{
		Type: huma.TypeString, Pattern: "^[0-9]{1,20}$", PatternDescription: "decimal digits",
		Description: "a 64-bit number in decimal",
	}
}

// Schema describes a Time, for huma.
func (Time) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{Type: huma.TypeString, Format: "date-time", Nullable: true}
}

// operation is what every operation of the API has in common.
func operation(api huma.API, method, path, id, summary string) huma.Operation {
	errors := api.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[Error](), true, "Error")
	return huma.Operation{
		Method: method, Path: path, OperationID: id, Summary: summary,
		Responses: map[string]*huma.Response{
			"default": {
				Description: "what went wrong",
				Content:     map[string]*huma.MediaType{"application/problem+json": {Schema: errors}},
			},
		},
		// No deadline on the body: it would stay on the connection and cut requests that wait.
		BodyReadTimeout: -1,
	}
}

// serveOpenAPI serves the description of what is registered. It is made once, here: huma would make it in the first
// request, unguarded.
func serveOpenAPI(mux *http.ServeMux, api huma.API) error {
	doc := api.OpenAPI()
	for path, item := range doc.Paths {
		if plain := strings.ReplaceAll(path, "...}", "}"); plain != path { // net/http's way to say: the rest
			delete(doc.Paths, path)
			doc.Paths[plain] = item
		}
	}
	text, err := json.Marshal(doc)
	if err != nil {
		return fmt.Errorf("openapi document: %w", err)
	}
	mux.HandleFunc("GET /openapi.json", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/openapi+json")
		_, _ = w.Write(text) // an error is the client's leaving
	})
	return nil
}

// oneOf describes an answer that is one of several types.
func oneOf(api huma.API, types ...any) *huma.Schema {
	all := &huma.Schema{}
	for _, v := range types {
		t := reflect.TypeOf(v)
		all.OneOf = append(all.OneOf, api.OpenAPI().Components.Schemas.Schema(t, true, t.Name()))
	}
	return all
}
