package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/connprof/connprof/internal/experiment"
	"github.com/connprof/connprof/internal/guard"
	"github.com/connprof/connprof/load"
)

// serverFlags are the flags of a run against a server of the user's.
type serverFlags struct {
	port         int
	wait, every  time.Duration
	send, expect string
	then         string
	output       bool
}

// The choices of --then.
const (
	thenIdle   = "idle"
	thenRepeat = "repeat"
)

func (f *serverFlags) add(flags *pflag.FlagSet) {
	flags.IntVar(&f.port, "server-port", 0, "with a command, the `port` that it listens on (default the only one)")
	flags.DurationVar(&f.wait, "server-wait", 30*time.Second, "with a command, how long it may take until it listens")
	flags.BoolVar(&f.output, "server-output", false, "with a command, pass on what it writes to standard error")
	flags.StringVar(&f.send, "send", "", "with a command, what the client says on each connection: the contents of a file, or `TEXT` with \\r\\n and the like")
	flags.StringVar(&f.expect, "expect", "", "with a command, what has to come before a connection counts as up: a number of bytes, or a regular `expression`")
	flags.StringVar(&f.then, "then", thenIdle, "with a command, what is done on a connection that is up: `idle`, or repeat: say it again")
	flags.DurationVar(&f.every, "every", 30*time.Second, "with --then repeat, how often on each connection")
}

// serverFlagNames are the flags that need a command.
var serverFlagNames = []string{"server-port", "server-wait", "server-output", "send", "expect", "then", "every"}

// options puts the command, and what is said to it, into a run's options.
func (f *serverFlags) options(cmd *cobra.Command, args []string, o *experiment.Options) error {
	switch dash := cmd.ArgsLenAtDash(); {
	case len(args) > 0 && dash != 0:
		return fmt.Errorf("unexpected argument %q: a command comes after --; see connprof run --help", args[0])
	case len(args) == 0 && dash == 0: // such as that of a shell variable which is not set
		return errors.New("there is no command after --: name one, or leave -- out")
	case len(args) == 0:
		for _, name := range serverFlagNames {
			if cmd.Flags().Changed(name) {
				return fmt.Errorf("--%s is for a server of your own: name its command after --", name)
			}
		}
		return nil
	}
	program, err := programOf(args)
	if err != nil {
		return err
	}
	o.Server = &experiment.ServerCommand{Command: program, Port: f.port, Wait: f.wait}
	if cmd.Flags().Changed("server-port") && f.port == 0 {
		return errors.New("--server-port 0: want a port from 1 to 65535")
	}
	o.Exchange, err = f.exchange(cmd)
	return err
}

// exchange is what is said on each connection, nil for nothing.
func (f *serverFlags) exchange(cmd *cobra.Command) (*load.Exchange, error) {
	flags := cmd.Flags()
	switch {
	case f.then != thenIdle && f.then != thenRepeat:
		return nil, fmt.Errorf("--then %q: want idle or repeat", f.then)
	case flags.Changed("every") && f.then != thenRepeat:
		return nil, errors.New("--every is for --then repeat")
	case f.then == thenRepeat && f.every <= 0:
		return nil, fmt.Errorf("--every %v: want a time above 0, such as 30s", f.every)
	case flags.Changed("send") && f.send == "", flags.Changed("expect") && f.expect == "":
		return nil, errors.New("--send and --expect want something that is not empty")
	case f.send == "" && f.expect == "" && f.then == thenIdle:
		return nil, nil
	}
	x := &load.Exchange{}
	if f.then == thenRepeat {
		x.Every = f.every
	}
	var err error
	if x.Send, err = sayOf(f.send); err != nil {
		return nil, fmt.Errorf("--send: %w", err)
	}
	if n, err := strconv.Atoi(f.expect); err == nil {
		if n < 1 {
			return nil, fmt.Errorf("--expect %d: want 1 byte or more, or a regular expression", n)
		}
		x.Bytes = n
	} else {
		x.Pattern = f.expect
	}
	return x, nil
}

// mostSaid bounds what is said on a connection.
const mostSaid = 1 << 20

// sayOf is what is to be said: a file's contents where there is one of that name, else the text with its escapes.
func sayOf(text string) ([]byte, error) {
	if info, err := os.Stat(text); err == nil && info.Mode().IsRegular() {
		if info.Size() > mostSaid {
			return nil, fmt.Errorf("%s has %d bytes; want at most %d", text, info.Size(), mostSaid)
		}
		return os.ReadFile(text)
	}
	var said []byte
	for rest := text; rest != ""; {
		if strings.HasPrefix(rest, `\"`) || strings.HasPrefix(rest, `\'`) { // as a shell's user writes them
			said, rest = append(said, rest[1]), rest[2:]
			continue
		}
		c, multibyte, tail, err := strconv.UnquoteChar(rest, 0)
		if err != nil {
			return nil, fmt.Errorf("%q: want a file, or text in which a backslash begins \\r, \\n, \\t, \\x00 or \\\\", text)
		}
		if multibyte {
			said = utf8.AppendRune(said, c)
		} else {
			said = append(said, byte(c))
		}
		rest = tail
	}
	return said, nil
}

// programOf is the program that args say, as the user who called sudo.
func programOf(args []string) (guard.Command, error) {
	if strings.TrimSpace(args[0]) == "" {
		return guard.Command{}, errors.New("the command after -- is empty")
	}
	c := guard.Command{Args: args}
	if who := invoker(); who != nil {
		credential, environment, err := asUser(who.UID, who.GID)
		if err != nil {
			return guard.Command{}, err
		}
		c.Credential, c.Environ = credential, environment
	}
	return c, nil
}
