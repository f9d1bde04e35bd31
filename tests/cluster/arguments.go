package main

import (
	"errors"
	"flag"
	"io"
)

// errUsage makes main print the command's usage.
var errUsage = errors.New("wrong usage")

// parse reads flags that may stand between the other arguments, which it returns.
// Everything after "--" is an argument.
func parse(flags *flag.FlagSet, args []string) ([]string, error) {
	flags.SetOutput(io.Discard)
	flags.Usage = func() {}
	var rest []string
	for len(args) > 0 {
		if args[0] == "--" {
			return append(rest, args[1:]...), nil
		}
		if len(args[0]) > 1 && args[0][0] == '-' {
			if err := flags.Parse(args); err != nil {
				if errors.Is(err, flag.ErrHelp) {
					return nil, errUsage
				}
				return nil, err
			}
			args = flags.Args()
			continue
		}
		rest = append(rest, args[0])
		args = args[1:]
	}
	return rest, nil
}

// list is a flag that may be given several times.
type list []string

func (l *list) String() string { return "" }

func (l *list) Set(value string) error {
	*l = append(*l, value)
	return nil
}
