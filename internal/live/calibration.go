package live

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/connprof/connprof/internal/account"
	"github.com/connprof/connprof/internal/hostfile"
	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/recording"
)

// CalibrationFile keeps what the first look since the boot has learnt of the kernel. It is the one file that a look writes.
const CalibrationFile = "/run/connprof/calibration.json"

// maxCalibration bounds what is read of that file, in bytes. A real one has 500.
const maxCalibration = 64 << 10

// savedCalibration is the file: a calibration holds for one boot.
type savedCalibration struct {
	Boot string `json:"boot"`
	account.Calibration
}

// calibrated is the kernel's calibration: from the file if it is of this boot, else from a batch, which is then kept. Where neither
// works the reason is a note, and the account goes on without.
func calibrated(file string, batch func() (account.Calibration, error)) (*account.Calibration, recording.Calibration, string) {
	boot := kernel.BootID()
	if c := readCalibration(file, boot); c != nil {
		return c, recording.CalibratedOnce, ""
	}
	c, err := batch()
	if err != nil {
		return nil, recording.Uncalibrated, fmt.Sprintf("slabobj_ext vectors and security modules' objects are left out: no batch could be "+
			"traced to find their caches: %v", err)
	}
	if boot != "" {
		// Not to have it only costs the next look another batch.
		_ = writeCalibration(file, savedCalibration{boot, c})
	}
	return &c, recording.Calibrated, ""
}

// readCalibration is nil where there is none of this boot.
func readCalibration(file, boot string) *account.Calibration {
	f, err := os.Open(file)
	if err != nil {
		return nil
	}
	defer f.Close()
	var saved savedCalibration
	if err := json.NewDecoder(io.LimitReader(f, maxCalibration)).Decode(&saved); err != nil || saved.Boot == "" || saved.Boot != boot {
		return nil
	}
	return &saved.Calibration
}

func writeCalibration(file string, saved savedCalibration) error {
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	return hostfile.Write(file, hostfile.Options{Perm: 0o644}, func(w io.Writer) error {
		return json.NewEncoder(w).Encode(saved)
	})
}
