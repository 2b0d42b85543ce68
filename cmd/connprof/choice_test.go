package main

import (
	"strings"
	"testing"
)

func TestAChoiceWithoutAValueIsRefused(t *testing.T) {
	for _, args := range [][]string{{"--comm", ""}, {"--container="}, {"--cgroup", "/a,"}, {"--netns", ""}, {"--state", ""}, {"--by", ""},
		{"--filter", ""}, {"--comm", "a", "--container", ""}} {
		cmd := newSnapshot()
		if err := cmd.ParseFlags(args); err != nil {
			t.Fatal(err)
		}
		if err := checkEmpty(cmd.Flags()); err == nil || !strings.Contains(err.Error(), "empty value") {
			t.Errorf("%q: %v", args, err)
		}
	}
	for _, args := range [][]string{{}, {"--comm", "a,b"}, {"--port", "443", "-p", "1"}, {"--filter", "idle > 1", "-o", ""}} {
		cmd := newSnapshot()
		if err := cmd.ParseFlags(args); err != nil {
			t.Fatal(err)
		}
		if err := checkEmpty(cmd.Flags()); err != nil {
			t.Errorf("%q: %v", args, err)
		}
	}
}

func TestNoRowsAreNotTheDefault(t *testing.T) {
	for rows, good := range map[int]bool{1: true, 20: true, 0: false, -1: false} {
		f := viewFlags{rows: rows}
		if _, err := f.options(); (err == nil) != good {
			t.Errorf("%d rows: %v", rows, err)
		}
	}
}
