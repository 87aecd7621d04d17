package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-viper/mapstructure/v2"
	"github.com/knadh/koanf/parsers/toml/v2"
	"github.com/knadh/koanf/providers/env/v2"
	"github.com/knadh/koanf/providers/posflag"
	"github.com/knadh/koanf/providers/structs"
	"github.com/knadh/koanf/v2"
	"github.com/spf13/pflag"

	"github.com/p2pnode/p2pnode/node"
)

const (
	tomlTag   = "toml"
	envPrefix = "P2PNODE_"
	apiOff    = "off"
)

// setting is one key of config.toml.
type setting struct {
	key string // section.key, or the key alone outside of sections
	typ reflect.Type
}

// env is the environment variable that sets it.
func (s setting) env() string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(s.key, ".", "_"))
}

// settings are all keys, in the order of node.Config.
func settings() []setting { return settingsOf("", reflect.TypeFor[node.Config]()) }

func settingsOf(prefix string, t reflect.Type) []setting {
	var all []setting
	for i := range t.NumField() {
		f := t.Field(i)
		switch key := f.Tag.Get(tomlTag); {
		case key == "-":
		case f.Type.Kind() == reflect.Struct:
			all = append(all, settingsOf(prefix+key+".", f.Type)...)
		default:
			all = append(all, setting{prefix + key, f.Type})
		}
	}
	return all
}

// configFlags are the flags of run that are settings.
var configFlags = map[string]string{
	"profile":    "profile",
	"name":       "node.name",
	"network":    "network.name",
	"listen":     "network.listen",
	"announce":   "network.announce",
	"bootstrap":  "network.bootstrap",
	"topic":      "network.topics",
	"api":        "api.listen",
	"quiet-node": "membership.quiet",
	"log-level":  "log.level",
	"log-format": "log.format",
}

// loadConfig is the configuration of the node that the command line means: a flag counts before the environment, that
// before the file, and that before the profile. A list given by flag replaces one from elsewhere. file is what --config
// said, or ""; flags are those of run, nil for other commands.
func (a *app) loadConfig(file string, flags *pflag.FlagSet) (node.Config, error) {
	if flags == nil {
		flags = pflag.NewFlagSet("", pflag.ContinueOnError)
	}
	paths, err := a.paths()
	if err != nil {
		return node.Config{}, err
	}
	text, err := readConfigFile(file, paths)
	if err != nil {
		return node.Config{}, err
	}
	fromEnv, err := a.environment(os.Environ())
	if err != nil {
		return node.Config{}, err
	}
	told := koanf.New(".")
	load := func(p koanf.Provider, parser koanf.Parser) {
		if err == nil {
			err = told.Load(p, parser)
		}
	}
	load(rawBytes(text), toml.Parser())
	load(fromEnv, nil)
	load(posflag.ProviderWithFlag(flags, ".", nil, configFlag), nil)

	profile := node.ProfileLAN
	if told.Exists("profile") {
		profile = told.String("profile")
	}
	all := koanf.New(".")
	if err == nil {
		err = all.Load(structs.Provider(node.DefaultConfig(profile), tomlTag), nil)
	}
	if err == nil {
		err = all.Merge(told)
	}
	var cfg node.Config
	if err == nil {
		err = all.UnmarshalWithConf("", &cfg, koanf.UnmarshalConf{Tag: tomlTag, DecoderConfig: &mapstructure.DecoderConfig{
			DecodeHook: decodeDuration,
		}})
	}
	if err != nil {
		return node.Config{}, fmt.Errorf("read configuration: %w", err)
	}
	cfg.DataDir = paths.Data
	if cfg.API.Listen == "unix:" {
		cfg.API.Listen += paths.Socket
		if err := paths.CheckSocket(); err != nil {
			return node.Config{}, err
		}
	}
	if a.verbose && !flags.Changed("log-level") {
		cfg.Log.Level = "debug"
	}
	return cfg, cfg.Validate()
}

// readConfigFile reads and checks the file that the flag names, or P2PNODE_CONFIG, or else the one at its usual place,
// which need not be there.
func readConfigFile(file string, paths node.Paths) ([]byte, error) {
	named := firstOf(file, os.Getenv(envConfig))
	name := firstOf(named, paths.Config)
	text, err := os.ReadFile(name)
	switch {
	case errors.Is(err, fs.ErrNotExist) && named == "":
		return nil, nil
	case err != nil:
		return nil, node.NewError(node.CodeBadConfig, err, fmt.Sprintf("configuration: %v", err), "")
	}
	return text, checkTOML(name, text)
}

// rawBytes is a koanf.Provider of what was read already.
type rawBytes []byte

func (b rawBytes) ReadBytes() ([]byte, error) { return b, nil }

func (rawBytes) Read() (map[string]any, error) {
	return nil, errors.New("these are bytes for a parser")
}

// configFlag gives koanf the value of a flag that is a setting.
func configFlag(f *pflag.Flag) (string, any) {
	key := configFlags[f.Name]
	if list, ok := f.Value.(pflag.SliceValue); ok {
		return key, list.GetSlice()
	}
	if on, err := strconv.ParseBool(f.Value.String()); err == nil && f.Value.Type() == "bool" {
		return key, on
	}
	return key, f.Value.String()
}

// environment reads the settings among the environment variables. One that means nothing is warned of, since a
// misspelt name would else fail in silence.
func (a *app) environment(environ []string) (koanf.Provider, error) {
	known := map[string]setting{}
	names := []string{envHome, envConfig, envAPI}
	for _, s := range settings() {
		known[s.env()] = s
		names = append(names, s.env())
	}
	others := append(slices.Clone(names), "P2PNODE_TESTNET_DIR", "P2PNODE_EVENT", "P2PNODE_KEY", "P2PNODE_VERSION", "P2PNODE_OWNER")
	var faults []node.Fault
	provider := env.Provider(".", env.Opt{
		Prefix:      envPrefix,
		EnvironFunc: func() []string { return environ },
		TransformFunc: func(name, text string) (string, any) {
			s, ok := known[name]
			switch {
			case !ok && !slices.Contains(others, name):
				a.warn(fmt.Sprintf("the environment variable %s means nothing%s", plain(name), didYouMean(name, names)), "")
				return "", nil
			case !ok || text == "":
				return "", nil
			}
			value, err := parseSetting(s.typ, text)
			if err != nil {
				faults = append(faults, node.Fault{Field: name, Value: strconv.Quote(text), Want: err.Error()})
			}
			return s.key, value
		},
	})
	read, err := provider.Read()
	if err != nil {
		return nil, err
	}
	if len(faults) > 0 {
		slices.SortFunc(faults, func(x, y node.Fault) int { return strings.Compare(x.Field, y.Field) })
		cause := &node.ConfigError{Faults: faults}
		return nil, node.NewError(node.CodeBadConfig, cause, cause.Error(), "")
	}
	return tree(read), nil
}

// tree is a koanf.Provider of settings that were read already.
type tree map[string]any

func (t tree) Read() (map[string]any, error) { return t, nil }

func (tree) ReadBytes() ([]byte, error) { return nil, errors.New("these are values, not bytes") }

// parseSetting reads the text of an environment variable as a value of type t. Items of lists and maps are separated by
// commas.
func parseSetting(t reflect.Type, text string) (any, error) {
	var value any
	var err error
	switch {
	case t == reflect.TypeFor[time.Duration]():
		return parseDuration(text)
	case t.Kind() == reflect.String:
		return text, nil
	case t.Kind() == reflect.Bool:
		value, err = strconv.ParseBool(text)
	case t.Kind() == reflect.Int:
		value, err = strconv.Atoi(text)
	case t.Kind() == reflect.Float64:
		value, err = strconv.ParseFloat(text, 64)
	case t.Kind() == reflect.Slice:
		return strings.Split(text, ","), nil
	case t.Kind() == reflect.Map:
		pairs := map[string]any{}
		for pair := range strings.SplitSeq(text, ",") {
			name, v, _ := strings.Cut(pair, "=")
			pairs[name] = v
		}
		return pairs, nil
	default:
		panic(fmt.Sprintf("no text form for a setting of type %v", t))
	}
	if err != nil {
		return nil, errors.New("must be " + kindOf(t))
	}
	return value, nil
}

// kindOf names the values of a setting.
func kindOf(t reflect.Type) string {
	switch {
	case t == reflect.TypeFor[time.Duration]():
		return "a duration with its unit, in quotes: write \"5s\" or \"5m\""
	case t.Kind() == reflect.String:
		return "a string, in quotes"
	case t.Kind() == reflect.Bool:
		return "true or false"
	case t.Kind() == reflect.Int:
		return "a whole number"
	case t.Kind() == reflect.Float64:
		return "a number"
	case t.Kind() == reflect.Slice:
		return "a list of strings, such as [\"a\", \"b\"]"
	default:
		return "a table of strings, such as { a = \"b\" }"
	}
}

// decodeDuration is a mapstructure hook for the durations of the file.
func decodeDuration(_, to reflect.Type, data any) (any, error) {
	if text, ok := data.(string); ok && to == reflect.TypeFor[time.Duration]() {
		return parseDuration(text)
	}
	return data, nil
}
