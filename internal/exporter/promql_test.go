package exporter

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// selector is a metric in an expression, with the labels that it is chosen by.
type selector struct {
	metric string
	labels []string
}

// query is what an expression of Prometheus' asks for. grouped are the labels in by, without, on and the like.
type query struct {
	selectors []selector
	grouped   []string
}

// tokens of the language: strings, names, numbers with durations, operators and what encloses. A template's variable is a name.
var tokens = regexp.MustCompile(`"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|` +
	`\$?[a-zA-Z_:][a-zA-Z0-9_:]*|[0-9][0-9a-zA-Z.]*|=~|!~|!=|==|<=|>=|\S`)

var (
	name        = regexp.MustCompile(`^[a-zA-Z_:][a-zA-Z0-9_:]*$`)
	groupings   = []string{"by", "without", "on", "ignoring", "group_left", "group_right"}
	keywords    = []string{"and", "or", "unless", "bool", "offset", "inf", "nan"}
	aggregators = []string{"sum", "min", "max", "avg", "count", "group", "stddev", "stdvar", "topk", "bottomk", "quantile",
		"count_values"}
)

// parse finds what an expression names. Whether it is a sound expression is promtool's to say.
func parse(expr string) (query, error) {
	p := parser{list: tokens.FindAllString(expr, -1)}
	var q query
	for p.at < len(p.list) {
		token := p.next()
		switch {
		case token == "[":
			for p.peek() != "]" && p.peek() != "" {
				p.at++
			}
		case token == "{":
			return q, fmt.Errorf("%s: a selector without a metric", expr)
		case slices.Contains(groupings, token):
			q.grouped = append(q.grouped, p.names("(", ")")...)
		case !name.MatchString(token) || slices.Contains(keywords, token) || p.peek() == "(":
		case slices.Contains(aggregators, token) && slices.Contains(groupings, p.peek()):
		default:
			q.selectors = append(q.selectors, selector{token, p.names("{", "}")})
		}
	}
	if len(q.selectors) == 0 {
		return q, fmt.Errorf("%s: no metric", expr)
	}
	return q, nil
}

type parser struct {
	list []string
	at   int
}

func (p *parser) peek() string {
	if p.at < len(p.list) {
		return p.list[p.at]
	}
	return ""
}

func (p *parser) next() string {
	token := p.peek()
	p.at++
	return token
}

// names are the names between a pair of tokens, if that is what comes next.
func (p *parser) names(from, to string) (list []string) {
	if p.peek() != from {
		return nil
	}
	for p.at < len(p.list) && p.peek() != to {
		if token := p.next(); name.MatchString(token) {
			list = append(list, token)
		}
	}
	p.at++
	return list
}

func TestWhatAnExpressionNamesIsFound(t *testing.T) {
	for expr, want := range map[string]string{
		`a`:                        "a[]",
		`sum by (x, y) (a{b="}"})`: "a[b] by x,y",
		`rate(a_total{b=~"$c", d!='e"'}[5m]) > bool 0.5 * b`:                      "a_total[b d] b[]",
		`a / ignoring (l) group_left (m) b{l="x"} offset 5m`:                      "a[] b[l] by l,m",
		`histogram_quantile(0.9, sum by (le) (rate(h_bucket[$__rate_interval])))`: "h_bucket[] by le",
		`predict_linear(a[1h], 4 * 3600) > 1e4 and on (i) time() - b > 2`:         "a[] b[] by i",
		`topk(10, sum(a) without (x)) unless max_over_time(sum[1h:5m])`:           "a[] sum[] by x",
	} {
		q, err := parse(expr)
		if err != nil {
			t.Error(err)
		}
		var parts []string
		for _, s := range q.selectors {
			parts = append(parts, fmt.Sprint(s.metric, s.labels))
		}
		if len(q.grouped) > 0 {
			parts = append(parts, "by "+strings.Join(q.grouped, ","))
		}
		if got := strings.Join(parts, " "); got != want {
			t.Errorf("%s names %s, want %s", expr, got, want)
		}
	}
	for _, expr := range []string{"", "1 + 1", "{a=\"b\"}", "time()"} {
		if _, err := parse(expr); err == nil {
			t.Errorf("%q passes", expr)
		}
	}
}
