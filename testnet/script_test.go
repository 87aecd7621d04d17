package testnet

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// checkout is a directory with testnet.sh in it, and a `go` in PATH whose build makes a p2pnode that prints its arguments.
func checkout(t *testing.T) (script string) {
	t.Helper()
	root := filepath.Join(t.TempDir(), "check out")
	bin := filepath.Join(t.TempDir(), "bin")
	for _, dir := range []string{filepath.Join(root, "testnet"), bin} {
		require.NoError(t, os.MkdirAll(dir, 0o700))
	}
	text, err := os.ReadFile("testnet.sh")
	require.NoError(t, err)
	script = filepath.Join(root, "testnet", "testnet.sh")
	require.NoError(t, os.WriteFile(script, text, 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(bin, "go"), []byte(`#!/bin/sh
[ "$*" = "build -o .bin/p2pnode ./cmd/p2pnode" ] || { echo "go $*" >&2; exit 1; }
mkdir -p .bin
cat >.bin/p2pnode <<'END'
#!/bin/sh
for a; do printf '[%s]' "$a"; done
exit 5
END
chmod +x .bin/p2pnode
`), 0o700))
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	return script
}

func TestScript(t *testing.T) {
	script := checkout(t)
	for args, want := range map[string]string{
		"up|5":                         "[testnet][up][-n][5]",
		"up|20|--name|b|--json":        "[testnet][up][-n][20][--name][b][--json]",
		"up|-n|5":                      "[testnet][up][-n][5]",
		"up":                           "[testnet][up]",
		"down":                         "[testnet][down]",
		"status|--name|b":              "[testnet][status][--name][b]",
		"kill|n3":                      "[testnet][kill][n3]",
		"logs|--name|b|n1":             "[testnet][logs][--name][b][n1]",
		"exec|n1|sh|-c|a  b|--json":    "[testnet][exec][--name][default][n1][--][sh][-c][a  b][--json]",
		"exec|--name|b|n1|--|cat|--|x": "[testnet][exec][--name][b][n1][--][cat][--][x]",
		"exec|n1":                      "[testnet][exec][--name][default][n1][--]",
		"exec|--name":                  "[testnet][exec][--name][][][--]",
		"":                             "[testnet]",
	} {
		t.Run(args, func(t *testing.T) {
			var argv []string
			if args != "" {
				argv = strings.Split(args, "|")
			}
			cmd := exec.Command(script, argv...)
			cmd.Dir = t.TempDir() // it works from anywhere
			out, err := cmd.CombinedOutput()
			require.Equal(t, 5, exitCode(t, err), string(out))
			require.Equal(t, want, string(out))
		})
	}
}

func TestScriptEndsWhenTheBuildFails(t *testing.T) {
	script := checkout(t)
	cmd := exec.Command(script, "status")
	cmd.Env = append(os.Environ(), "PATH="+t.TempDir()+":"+filepath.Dir(mustLook(t, "dirname")))
	require.NoError(t, os.WriteFile(filepath.Join(strings.SplitN(strings.TrimPrefix(cmd.Env[len(cmd.Env)-1], "PATH="), ":", 2)[0], "go"),
		[]byte("#!/bin/sh\necho does not compile >&2\nexit 1\n"), 0o700))
	out, err := cmd.CombinedOutput()
	require.NotZero(t, exitCode(t, err))
	require.Equal(t, "does not compile\n", string(out))
}

func mustLook(t *testing.T, program string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	require.NoError(t, err)
	return path
}
