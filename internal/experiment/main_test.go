package experiment

import (
	"os"
	"testing"

	"github.com/connprof/connprof/load"
)

func TestMain(m *testing.M) {
	load.WorkerMain()
	os.Exit(m.Run())
}
