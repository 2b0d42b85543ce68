package filter

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/file"

	"github.com/connprof/connprof/internal/kernel"
)

// maxRange bounds what lport in 1024..65535 makes up. There are as many ports.
const maxRange = 1 << 16

// rules looks at each part of an expression before it is compiled, and keeps the first that the filter language does not
// have: what the language by itself finds no fault with, or what could take long for each endpoint. It works out
// durations, and notes which fields are asked for.
type rules struct {
	err  *file.Error
	asks map[string]bool
}

// Visit is called for each node.
func (r *rules) Visit(node *ast.Node) {
	if r.err != nil {
		return
	}
	var err error
	switch n := (*node).(type) {
	case *ast.CallNode:
		if callee, is := n.Callee.(*ast.IdentifierNode); is && callee.Value == "duration" {
			err = duration(node, n.Arguments)
		}
	case *ast.MemberNode:
		err = objectType(n)
	case *ast.BinaryNode:
		err = bounded(n)
	case *ast.BuiltinNode:
		err = fmt.Errorf("there is no function %s", n.Name)
	case *ast.IdentifierNode:
		if n.Value == "$env" {
			err = errors.New("$env is not available: name the field")
		}
		r.asks[n.Value] = true
	case *ast.VariableDeclaratorNode:
		// What adds a text to itself again and again would grow without end.
		err = errors.New("let is not available")
	}
	if err != nil {
		r.err = &file.Error{Location: (*node).Location(), Message: err.Error()}
	}
}

// duration replaces duration("5m") by seconds, once.
func duration(node *ast.Node, arguments []ast.Node) error {
	text, is := ast.Node(nil), false
	if len(arguments) == 1 {
		text = arguments[0]
		_, is = text.(*ast.StringNode)
	}
	if !is {
		return errors.New(`duration takes one text in quotes, such as duration("5m")`)
	}
	value := text.(*ast.StringNode).Value
	d, err := time.ParseDuration(value)
	if err != nil {
		return fmt.Errorf("%.20q is no duration: write it like 90s, 5m or 1h30m", value)
	}
	ast.Patch(node, &ast.FloatNode{Value: d.Seconds()})
	return nil
}

// durationAtRun stands for duration while the language checks names. No call of it is left.
func durationAtRun(...any) (any, error) { return nil, errors.New("duration takes one text in quotes") }

// objectType refuses objects["no_such_type"], which would be 0 of every endpoint.
func objectType(n *ast.MemberNode) error {
	of, isField := n.Node.(*ast.IdentifierNode)
	name, isText := n.Property.(*ast.StringNode)
	if !isField || of.Value != "objects" || !isText || slices.Contains(objectTypes, name.Value) {
		return nil
	}
	return fmt.Errorf("there is no object type %.30q: the types are %s", name.Value, strings.Join(objectTypes, " "))
}

var objectTypes = func() (names []string) {
	for _, t := range kernel.Types {
		names = append(names, t.Name)
	}
	return names
}()

// bounded refuses what could be large or slow for each endpoint again.
func bounded(n *ast.BinaryNode) error {
	switch n.Operator {
	case "..":
		from, isFrom := n.Left.(*ast.IntegerNode)
		to, isTo := n.Right.(*ast.IntegerNode)
		if !isFrom || !isTo || to.Value-from.Value > maxRange {
			return fmt.Errorf("a range goes from number to number, at most %d", maxRange)
		}
	case "matches":
		if _, is := n.Right.(*ast.StringNode); !is {
			return errors.New("matches takes a regular expression in quotes")
		}
	}
	return nil
}
