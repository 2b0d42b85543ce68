package main

import (
	"testing"

	"github.com/connprof/connprof/internal/kernel"
)

func TestSizesAcceptUnitsAsCountsDo(t *testing.T) {
	for text, want := range map[string]float64{"client=4k": 4000, "client=4.4k": 4400, "client=1.5": 1.5, "client=1M": 1e6} {
		if b, err := parseBudgets([]string{text}); err != nil || b[kernel.RoleClient] != want {
			t.Errorf("%s: %v, %v", text, b, err)
		}
	}
	for _, text := range []string{"client=1e3", "client=k", "client=0", "client=-1k", "client=1kk"} {
		if b, err := parseBudgets([]string{text}); err == nil {
			t.Errorf("%s: %v", text, b)
		}
	}
	var payload sizeValue
	if err := payload.Set("16k"); err != nil || payload != 16000 {
		t.Errorf("%d, %v", payload, err)
	}
}
