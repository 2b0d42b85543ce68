package experiment

import (
	"os"
	"testing"

	"github.com/connprof/connprof/load"
)

func TestMain(m *testing.M) {
	load.WorkerMain()
	listenMain()
	os.Exit(m.Run())
}
