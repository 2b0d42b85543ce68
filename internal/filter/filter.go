package filter

import (
	"errors"
	"fmt"
	"strings"
	"unicode"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/file"
	"github.com/expr-lang/expr/vm"
)

// Bounds on what an expression may cost. What could loop, or grow from endpoint to endpoint, the language does not have here
// (see rules).
const (
	maxLength = 4096 // characters
	maxNodes  = 1000
	maxMemory = maxRange // elements of what is made up while an endpoint is looked at
)

// Filter is an expression that was compiled. It is not for several goroutines at once.
type Filter struct {
	source  string
	program *vm.Program
	machine vm.VM
	asks    map[string]bool // the fields in it
}

// Compile reads an expression that is true of the endpoints to choose. An error is one line: what is wrong, in which column,
// and which fields there are.
func Compile(source string) (*Filter, error) {
	if len(source) > maxLength {
		return nil, fmt.Errorf("filter of %d bytes: it is too long, %d are the most", len(source), maxLength)
	}
	rules := &rules{asks: map[string]bool{}}
	program, err := expr.Compile(source, expr.Env(&Fields{}), expr.AsBool(), expr.DisableAllBuiltins(), expr.MaxNodes(maxNodes),
		expr.Function("duration", durationAtRun, new(func(string) float64)), expr.Patch(rules))
	if rules.err != nil {
		err = rules.err.Bind(file.NewSource(source))
	}
	if err != nil {
		return nil, fmt.Errorf("filter '%s': %s; the fields are %s", oneLine(source), complaint(err), strings.Join(Names, ", "))
	}
	return &Filter{source: source, program: program, machine: vm.VM{MemoryBudget: maxMemory}, asks: rules.asks}, nil
}

// String is the expression as it was given.
func (f *Filter) String() string { return f.source }

// Match tells whether the expression is true of an endpoint. It fails where it cannot be worked out, such as 1 % 0.
func (f *Filter) Match(fields *Fields) (bool, error) {
	is, err := f.machine.Run(f.program, fields)
	if err != nil {
		return false, fmt.Errorf("filter '%s': %s", oneLine(f.source), complaint(err))
	}
	return is.(bool), nil // Compile has seen to that
}

// complaint is what the language says, as one line.
func complaint(err error) string {
	var at *file.Error
	if !errors.As(err, &at) {
		return oneLine(err.Error())
	}
	place := fmt.Sprintf("column %d", at.Column+1)
	if at.Line > 1 {
		place = fmt.Sprintf("line %d, %s", at.Line, place)
	}
	return fmt.Sprintf("%s, at %s", oneLine(at.Message), place)
}

// oneLine is a message, which may have parts of the expression in it, or the expression itself as a terminal can show it.
func oneLine(message string) string {
	clean := strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, message)
	if short := []rune(clean); len(short) > 200 {
		clean = string(short[:200]) + " ..."
	}
	return clean
}
