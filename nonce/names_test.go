package nonce

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAValueThatLanguagesReadDifferentlyIsRefused(t *testing.T) {
	for name, value := range map[string]string{
		"a name twice":                    `{"cells":"3","cells":"4"}`,
		"a name twice in an unknown part": `{"cells":"3","more":[1,{"a":1,"b":2,"a":3}]}`,
		"an upper-case name":              `{"Cells":"3"}`,
		"a name that folds to a known":    "{\"cell\u017f\":\"3\"}", // long s
		"a name that is escaped":          `{"cells":"3","\u0063ells":"4"}`,
		"bytes that are not UTF-8":        "{\"cells\":\"3\",\"name\":\"\xff\"}",
		"no object":                       `"3"`,
		"two values":                      `{"cells":"3"}{"cells":"4"}`,
	} {
		_, err := DecodeLease([]byte(value))
		require.Error(t, err, name)
		require.Contains(t, err.Error(), string(Malformed), name)
	}
	_, err := DecodeLease([]byte(`{"cells":"3","more":` + strings.Repeat("[", 16) + strings.Repeat("]", 16) + `}`))
	require.ErrorContains(t, err, "deep")
}

func TestNamesThatDifferOrStandApartAreTaken(t *testing.T) {
	for i, value := range []string{
		`{"cells":"3","a":{"cells":"4","b":[]},"b":{"cells":"5"}}`,
		`{"cells":"3","names":["Cells","cells","cells"],"more":"Cells"}`,
		`{"more":[{"a":1},{"a":2}],"cells":"3"}`,
	} {
		lease, err := DecodeLease([]byte(value))
		require.NoError(t, err, fmt.Sprint(i))
		require.Equal(t, Lease{Cells: Single(3)}, lease)
	}
}
