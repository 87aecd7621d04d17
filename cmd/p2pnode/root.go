package main

import (
	"errors"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

const overview = `p2pnode: set a key or submit work on any node, and every node of the network agrees on it.

  p2pnode testnet up -n 5                        try it: five nodes on this machine
  p2pnode --node n1 state set hello world
  p2pnode --node n5 state get hello
  p2pnode run --bootstrap ADDR                   run a node of your own

Node      run  init  id  status  health  wait
Network   peers  members
State     state set|get|del|ls|watch|digest|export|import|verify
Work      work submit|ls|show|watch|cancel
Testnet   testnet up|down|status|kill|restart|logs|exec
Help      errors  version  completion

p2pnode COMMAND --help says more.
`

// Groups of commands, in the order of the help.
const (
	groupNode    = "node"
	groupNetwork = "network"
	groupData    = "data"
	groupTestnet = "testnet"
	groupHelp    = "help"
)

func (a *app) rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:           "p2pnode",
		Short:         "Replicated, signed state and shared work between nodes that find each other",
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          knownSubcommand,
		RunE: func(*cobra.Command, []string) error {
			a.printf("%s", overview)
			return nil
		},
	}
	root.AddGroup(
		&cobra.Group{ID: groupNode, Title: "Node:"},
		&cobra.Group{ID: groupNetwork, Title: "Network:"},
		&cobra.Group{ID: groupData, Title: "State and work:"},
		&cobra.Group{ID: groupTestnet, Title: "Testnet:"},
		&cobra.Group{ID: groupHelp, Title: "Help:"},
	)
	root.SetHelpCommandGroupID(groupHelp)
	root.SetCompletionCommandGroupID(groupHelp)
	root.SetOut(a.out)
	root.SetErr(a.err)
	root.SetFlagErrorFunc(flagError)
	a.globalFlags(root.PersistentFlags())
	addGroup(root, groupNode, a.runCommand(), a.initCommand(), a.idCommand(), a.statusCommand(), a.healthCommand(), a.waitCommand())
	addGroup(root, groupNetwork, a.peersCommand(), a.membersCommand())
	addGroup(root, groupData, a.stateCommand(), a.workCommand())
	addGroup(root, groupTestnet, a.testnetCommand())
	addGroup(root, groupHelp, a.errorsCommand(), a.versionCommand())
	return root
}

func addGroup(root *cobra.Command, group string, commands ...*cobra.Command) {
	for _, c := range commands {
		c.GroupID = group
		root.AddCommand(c)
	}
}

// parent is a command that only holds others.
func parent(use, short string, commands ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{
		Use:   use,
		Short: short,
		Args:  knownSubcommand,
		RunE:  func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(commands...)
	return c
}

// knownSubcommand refuses a word where a command was expected.
func knownSubcommand(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	var names []string
	for _, sub := range c.Commands() {
		if sub.IsAvailableCommand() {
			names = append(names, sub.Name())
		}
	}
	return usageError("no command %q%s", strings.TrimPrefix(c.CommandPath()+" ", "p2pnode ")+args[0], didYouMean(args[0], names))
}

// exactArgs wants the arguments named, no more and no fewer.
func exactArgs(names ...string) cobra.PositionalArgs {
	return argsBetween(len(names), names...)
}

// argsBetween wants the first least of the arguments named and allows the others.
func argsBetween(least int, names ...string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		switch {
		case len(args) < least:
			return usageError("%s is missing", strings.Join(names[len(args):least], " and "))
		case len(args) > len(names):
			return usageError("%q is one argument too many", args[len(names)])
		}
		return nil
	}
}

// flagError says what is wrong with a flag, with one suggestion for a misspelt one.
func flagError(c *cobra.Command, err error) error {
	var (
		unknown *pflag.NotExistError
		value   *pflag.InvalidValueError
		missing *pflag.ValueRequiredError
	)
	switch {
	case errors.As(err, &unknown):
		if short := unknown.GetSpecifiedShortnames(); short != "" {
			return usageError("no flag -%s", unknown.GetSpecifiedName())
		}
		var names []string
		c.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, "--"+f.Name) })
		name := "--" + unknown.GetSpecifiedName()
		return usageError("no flag %s%s", name, didYouMean(name, names))
	case errors.As(err, &value):
		return usageError("--%s %q: %v", value.GetFlag().Name, value.GetValue(), value.Unwrap())
	case errors.As(err, &missing):
		return usageError("--%s needs a value", missing.GetFlag().Name)
	default:
		return usageError("%v", err)
	}
}
