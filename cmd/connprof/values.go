package main

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/connprof/connprof/internal/kernel"
)

// countValue is a flag that takes a count such as 20000, 20k or 1M (powers of 1000).
type countValue int

func (c *countValue) String() string { return strconv.Itoa(int(*c)) }
func (c *countValue) Type() string   { return "count" }

func (c *countValue) Set(text string) error {
	n, err := parseCount(text)
	if err != nil {
		return err
	}
	*c = countValue(n)
	return nil
}

// sizeValue is a flag that takes bytes, as countValue takes counts.
type sizeValue int

func (s *sizeValue) String() string        { return strconv.Itoa(int(*s)) }
func (s *sizeValue) Type() string          { return "bytes" }
func (s *sizeValue) Set(text string) error { return (*countValue)(s).Set(text) }

func parseCount(text string) (int, error) {
	n, err := parseUnits(text)
	switch {
	case err != nil || n != math.Trunc(n):
		return 0, fmt.Errorf("want a whole number, with k or M for thousands or millions (20000, 20k, 1.5M)")
	case n < 1 || n > math.MaxInt32:
		return 0, fmt.Errorf("want at least 1 and at most %d", math.MaxInt32)
	}
	return int(n), nil
}

// parseUnits is a decimal number, with k or M for thousands or millions.
func parseUnits(text string) (float64, error) {
	digits, unit := text, 1.0
	for suffix, factor := range map[string]float64{"k": 1e3, "K": 1e3, "m": 1e6, "M": 1e6} {
		if rest, ok := strings.CutSuffix(text, suffix); ok {
			digits, unit = rest, factor
		}
	}
	if strings.ContainsAny(digits, "xXpPeEiInN_+") {
		return 0, strconv.ErrSyntax
	}
	n, err := strconv.ParseFloat(digits, 64)
	return n * unit, err
}

// budgets is what one endpoint of each role may cost, in page bytes.
type budgets map[kernel.Role]float64

var budgetRoles = []kernel.Role{kernel.RoleClient, kernel.RoleServer, kernel.RoleListener}

func parseBudgets(texts []string) (budgets, error) {
	b := budgets{}
	for _, text := range texts {
		role, bytes, ok := strings.Cut(text, "=")
		n, err := parseUnits(bytes)
		if !ok || err != nil || !(n > 0) || math.IsInf(n, 0) {
			return nil, usageError{fmt.Errorf("--budget %q: want ROLE=BYTES, such as client=4400 or client=4.4k", text)}
		}
		r, err := kernel.ParseRole(role)
		if err != nil || !slices.Contains(budgetRoles, r) {
			return nil, usageError{fmt.Errorf("--budget %q: the roles are client, server and listener", text)}
		}
		b[r] = n
	}
	return b, nil
}
