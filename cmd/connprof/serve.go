package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/connprof/connprof/internal/experiment"
	"github.com/connprof/connprof/internal/limits"
	"github.com/connprof/connprof/internal/recording"
	"github.com/connprof/connprof/internal/remote"
	"github.com/connprof/connprof/internal/remote/peer"
	"github.com/connprof/connprof/internal/report"
	"github.com/connprof/connprof/internal/report/text"
)

// tokenEnv keeps the token off the command line, where every user of the host can read it.
const tokenEnv = "CONNPROF_TOKEN"

// serveFlags are the flags of `connprof serve`.
type serveFlags struct {
	remote.ServeOptions
	conns    countValue
	output   string
	delivery delivery
	messages *console
	held     *output // keeps a pipe from ending before the first recording
}

func newServe() *cobra.Command {
	f := &serveFlags{}
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Be the accepting end of runs on other machines",
		Long: `Wait for connprof run --target on other machines, accept the connections that it opens, profile this end of them,
and send this end's account there. It prints the whole command to type on the other machine.

The other end has to know the token. Connections are accepted only while a run lasts, and only from the addresses which
that run has announced: other senders do not even get an answer. The control connection speaks TLS 1.3, with a key that is
made from the token and that the other end knows by it. Only a token that a serve has printed can be given, not a text of
one's own. Several runs can be served at a time, each on data ports of its own.

Nothing of the host's network is changed. Ctrl-C ends the runs that are going on, each with an account of what is up; a
second Ctrl-C skips the account.`,
		Example: `  sudo connprof serve
  sudo connprof serve --listen 192.168.1.10:8090 --ports 20 --once -o server.json`,
		Args: cobra.NoArgs,
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.StringVar(&f.Listen, "listen", ":8090", "where runs call; the data ports are the next above")
	flags.IntVar(&f.Ports, "ports", 20, "data ports, for all runs together")
	flags.StringVar(&f.Token, "token", "", "what a run has to know: one that a serve has printed before (default $"+tokenEnv+", or a new one each time)")
	flags.Var(&f.conns, "conns", "connections that all runs together may hold (default what the host can safely hold)")
	flags.BoolVar(&f.Once, "once", false, "serve one run, then end with its outcome")
	flags.StringVarP(&f.output, "output", "o", "", "keep this end's recording of each run; the run's number is put before the extension, but not with --once")
	flags.BoolVar(&f.NoProfile, "no-profile", false, "load only")
	addHooksFlag(flags, &f.Hooks)
	addMemoryFlag(flags, &f.AllowMemory)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return f.run(cmd) }
	return cmd
}

// check refuses flags that make no sense.
func (f *serveFlags) check() error {
	f.Conns = int(f.conns)
	if f.Token == "" {
		f.Token = os.Getenv(tokenEnv)
	}
	if f.Token == "" {
		f.Token = peer.NewToken()
	}
	problem := ""
	switch {
	case f.NoProfile && f.output != "":
		problem = "--no-profile makes no account: leave out --output"
	case f.output == "-":
		problem = "--output -: standard output has the server's messages; give a file name"
	}
	if problem != "" {
		return usageError{errors.New(problem)}
	}
	if err := f.Validate(); err != nil {
		return usageError{err}
	}
	return nil
}

func (f *serveFlags) run(cmd *cobra.Command) error {
	if err := f.check(); err != nil {
		return err
	}
	if err := errors.Join(experiment.CheckThreads(1), limits.CheckPrivileges("serve"), f.checkOutput()); err != nil {
		return fmt.Errorf("serve: %w", err)
	}
	f.messages = newConsole(os.Stdout)
	defer f.messages.close()
	ctx, stop, release := watchSignals(cmd.Context())
	defer release()
	f.Version, f.Command, f.Stop = version(), commandLine(), stop
	f.Listening, f.Said = f.listening, func(line string) { fmt.Fprintln(f.messages, line) }
	f.Recorded = func(session int, rec *recording.Recording) error { return f.keep(cmd, session, rec) }
	if err := errors.Join(remote.Serve(ctx, f.ServeOptions), f.delivery.wait(ctx, stop)); err != nil {
		return fmt.Errorf("serve: %w", err)
	}
	return nil
}

// checkOutput opens what a recording would be written to.
func (f *serveFlags) checkOutput() (err error) {
	if f.output == "" {
		return nil
	}
	name := f.recordingName(1)
	if _, ok := descriptor(name); ok {
		return fmt.Errorf("write %s: standard output has the server's messages; give a file name", name)
	}
	f.held, err = openOutput("--output", name)
	return err
}

// recordingName is the name of a run's recording.
func (f *serveFlags) recordingName(session int) string {
	if f.Once {
		return f.output
	}
	return numbered(f.output, session)
}

// listening prints what to type on the other machine.
func (f *serveFlags) listening(at netip.AddrPort) {
	fmt.Fprintf(f.messages, "listening on %s; connections will come to TCP %s\n", at, portRange(at.Port(), f.Ports))
	from := []netip.Addr{at.Addr().Unmap()}
	if from[0].IsUnspecified() {
		from = ownAddresses()
	}
	fmt.Fprintln(f.messages, "on the other machine, once connprof netup has added the addresses there:")
	for _, a := range from {
		fmt.Fprintf(f.messages, "  sudo connprof run --target %s --token %s --ips 20\n", netip.AddrPortFrom(a, at.Port()), f.Token)
	}
}

func portRange(control uint16, n int) string {
	if n == 1 {
		return fmt.Sprint(control + 1)
	}
	return fmt.Sprintf("%d-%d", control+1, int(control)+n)
}

// ownAddresses are those that another machine could reach this one by; loopback where there is no other.
func ownAddresses() []netip.Addr {
	var list []netip.Addr
	addresses, _ := net.InterfaceAddrs()
	for _, a := range addresses {
		n, ok := a.(*net.IPNet)
		if !ok {
			continue
		}
		if ip, ok := netip.AddrFromSlice(n.IP); ok && ip.Unmap().IsGlobalUnicast() {
			list = append(list, ip.Unmap())
		}
	}
	slices.SortStableFunc(list, func(a, b netip.Addr) int { return a.BitLen() - b.BitLen() })
	// netup's aliases, and a host's many addresses, would only hide the first.
	const few = 3
	if len(list) > few {
		list = list[:few]
	}
	if len(list) == 0 {
		list = []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1})}
	}
	return list
}

// keep writes down a run's recording, and prints the account where there is no client any more that would.
func (f *serveFlags) keep(cmd *cobra.Command, session int, rec *recording.Recording) error {
	var errs []error
	if rec.Interrupted != "" && len(rec.Rows()) > 0 {
		errs = append(errs, text.Format{Color: colored(cmd)}.Write(f.messages, report.New(rec)))
	}
	if f.output != "" {
		name := f.recordingName(session)
		err := f.write(name, rec)
		if err == nil {
			fmt.Fprintln(f.messages, "wrote", name)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func (f *serveFlags) write(name string, rec *recording.Recording) error {
	o, err := openOutput("--output", name)
	if err != nil {
		return err
	}
	return f.delivery.write(o, func(w io.Writer) error { return rec.WriteNamed(w, name) })
}

// numbered puts a number before a file name's extension: server.json.gz, 3 is server-3.json.gz.
func numbered(name string, n int) string {
	dir, file := filepath.Split(name)
	stem, extension, found := strings.Cut(file, ".")
	if found {
		extension = "." + extension
	}
	return fmt.Sprintf("%s%s-%d%s", dir, stem, n, extension)
}

// commandLine is how connprof was called, without the token: recordings are passed on.
func commandLine() []string {
	line := append([]string{"connprof"}, os.Args[1:]...)
	for i, word := range line {
		switch {
		case strings.HasPrefix(word, "--token="):
			line[i] = "--token=TOKEN"
		case word == "--token" && i+1 < len(line):
			line[i+1] = "TOKEN"
		}
	}
	return line
}
