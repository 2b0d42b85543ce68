package live

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/connprof/connprof/internal/account"
	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/recording"
)

var learnt = account.Calibration{Caches: map[string]string{"lsm_sock": "kmalloc-64"}, Vectors: []string{"kmalloc-128"},
	Accounted: []string{"TCP"}}

// calibration is what calibrated gives by a batch that finds learnt, and how many batches that took.
func calibration(t *testing.T, file string) (kind recording.Calibration, batches int) {
	t.Helper()
	got, kind, note := calibrated(file, func() (account.Calibration, error) {
		batches++
		return learnt, nil
	})
	if got == nil || !reflect.DeepEqual(*got, learnt) || note != "" {
		t.Errorf("calibration %+v, note %q", got, note)
	}
	return kind, batches
}

func TestACalibrationHoldsUntilTheNextBoot(t *testing.T) {
	file := filepath.Join(t.TempDir(), "new", "calibration.json")
	if kind, batches := calibration(t, file); kind != recording.Calibrated || batches != 1 {
		t.Errorf("the first look: %s after %d batches", kind, batches)
	}
	if kind, batches := calibration(t, file); kind != recording.CalibratedOnce || batches != 0 {
		t.Errorf("the second look: %s after %d batches", kind, batches)
	}
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	old := strings.Replace(string(raw), kernel.BootID(), "another boot", 1)
	if err := os.WriteFile(file, []byte(old), 0o600); err != nil {
		t.Fatal(err)
	}
	if kind, batches := calibration(t, file); kind != recording.Calibrated || batches != 1 {
		t.Errorf("after another boot: %s after %d batches", kind, batches)
	}
}

func TestAFileThatIsNoCalibrationIsMadeAnew(t *testing.T) {
	for _, content := range []string{"", "{", `{"boot":""}`, "[]", strings.Repeat("[", 1<<20)} {
		file := filepath.Join(t.TempDir(), "calibration.json")
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if kind, _ := calibration(t, file); kind != recording.Calibrated {
			t.Errorf("%.20q was taken for a calibration: %s", content, kind)
		}
	}
}

func TestWithoutACalibrationTheNoteSaysWhy(t *testing.T) {
	got, kind, note := calibrated(filepath.Join(t.TempDir(), "none"), func() (account.Calibration, error) {
		return account.Calibration{}, errors.New("no namespace")
	})
	if got != nil || kind != recording.Uncalibrated || !strings.Contains(note, "left out") || !strings.Contains(note, "no namespace") {
		t.Errorf("%+v, %s, %q", got, kind, note)
	}
}

func TestABatchTellsTheCachesOfThisKernel(t *testing.T) {
	c, err := calibrate()
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Accounted) == 0 {
		t.Errorf("calibration %+v: no cache is charged to memory cgroups, which TCP is on every kernel", c)
	}
}
