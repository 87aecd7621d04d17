package main

import (
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"
)

// release is set by the linker in released binaries: -X main.release=0.4.0.
var release string

// The protocol and the data format of this program.
const (
	protocolVersion = 1
	dataFormat      = 1
)

type protocolRange struct {
	Speaks int `json:"speaks"`
	Min    int `json:"min"`
	Max    int `json:"max"`
}

type versionInfo struct {
	Version    string        `json:"version"`
	Commit     string        `json:"commit"`
	Date       string        `json:"date"`
	Go         string        `json:"go"`
	Protocol   protocolRange `json:"protocol"`
	DataFormat int           `json:"data_format"`
}

// readVersion asks the binary what it was built from.
func readVersion() versionInfo {
	v := versionInfo{
		Version:    release,
		Go:         runtime.Version(),
		Protocol:   protocolRange{Speaks: protocolVersion, Min: protocolVersion, Max: protocolVersion},
		DataFormat: dataFormat,
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		v.Version = firstOf(v.Version, "devel")
		return v
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			v.Commit = s.Value
		case "vcs.time":
			v.Date = s.Value
		}
	}
	v.Version = firstOf(v.Version, strings.Trim(strings.TrimPrefix(info.Main.Version, "v"), "()"), "devel")
	return v
}

func (v versionInfo) String() string {
	name := v.Version
	if name[0] >= '0' && name[0] <= '9' {
		name = "v" + name
	}
	return "p2pnode " + name + " (" + runtime.GOOS + "/" + runtime.GOARCH + ", " + v.Go + ", protocol 1)"
}

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Show which program this is",
		Args:  exactArgs(),
		RunE: func(*cobra.Command, []string) error {
			v := readVersion()
			switch {
			case a.json:
				return a.writeJSON(v)
			case a.quiet:
				a.printf("%s\n", v.Version)
			default:
				a.printf("%s\n", v)
			}
			return nil
		},
	}
}
