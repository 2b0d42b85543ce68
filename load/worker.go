package load

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"

	"github.com/connprof/connprof/internal/kernel"
)

// workerEnv tells the process that it is to be a worker.
const workerEnv = "CONNPROF_LOAD_WORKER"

type workerConfig struct {
	Role   kernel.Role // client or server
	Config Config
}

// The descriptors that a worker inherits.
const (
	controlFD = 3 // commands come in, a byte each; its end means that the parent is gone
	reportFD  = 4 // readyMark goes out, or the text of an error
	memoryFD  = 5
	configFD  = 6 // the worker's role and configuration: an environment takes no more than 128 KiB of them (MAX_ARG_STRLEN)
)

// Commands of the parent, and the worker's answer.
const (
	commandBegin = 'b'
	commandAct   = 'a' // an action follows
	commandEnd   = 'e'
	commandTell  = 't' // how often threads were switched since the beginning
	readyMark    = "ready\n"
)

// WorkerMain turns the process into a load worker if its environment says that it was started as one, and then does
// not return. A program that uses Start calls it first thing in main.
func WorkerMain() {
	if _, ok := os.LookupEnv(workerEnv); !ok {
		return
	}
	report := os.NewFile(reportFD, "report")
	if err := work(report); err != nil {
		fmt.Fprintln(report, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// worker is what client and server have in common.
type worker interface {
	begin()
	act(action)
}

func work(report *os.File) error {
	var wc workerConfig
	config := os.NewFile(configFD, "configuration")
	if err := json.NewDecoder(config).Decode(&wc); err != nil {
		return fmt.Errorf("read the worker's configuration: %w", err)
	}
	config.Close()
	// The kernel, when out of memory, is to end the load before anything else on the host.
	_ = os.WriteFile("/proc/self/oom_score_adj", []byte("1000"), 0) // best effort: no privilege is needed to raise it
	// For ps and top; the name of the program file would be "exe".
	_ = os.WriteFile("/proc/self/comm", []byte("connprof-"+wc.Role.String()), 0)
	memory, err := mapShared(os.NewFile(memoryFD, "memory"))
	if err != nil {
		return err
	}
	w, err := newWorker(wc, memory)
	if err != nil {
		return err
	}
	if _, err := report.WriteString(readyMark); err != nil {
		return fmt.Errorf("report to the parent: %w", err)
	}
	return obey(w, memory.switchesOf(wc.Role))
}

func newWorker(wc workerConfig, memory *shared) (worker, error) {
	if wc.Role == kernel.RoleServer {
		return newServer(wc.Config, memory)
	}
	return newClient(wc.Config, memory)
}

// obey runs the parent's commands until the last one; the end of the pipe is one as well.
func obey(w worker, switches *switchesSlot) error {
	var before Switches
	control := bufio.NewReader(os.NewFile(controlFD, "control"))
	for {
		command, err := control.ReadByte()
		switch {
		case err != nil || command == commandEnd:
			return nil
		case command == commandBegin:
			before = ownSwitches()
			w.begin()
		case command == commandTell:
			switches.tell(before)
		case command == commandAct:
			do, err := control.ReadByte()
			if err != nil {
				return nil
			}
			w.act(action(do))
		}
	}
}
