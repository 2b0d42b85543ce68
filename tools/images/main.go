// Command images turns what a program has written to a terminal into a page that looks like one, for a browser to take a
// picture of: it reads the text with its colours from standard input, and writes HTML.
package main

import (
	"bufio"
	"flag"
	"fmt"
	"html"
	"io"
	"os"
	"regexp"
	"strings"
)

func main() {
	command := flag.String("command", "", "what was typed")
	from := flag.String("from", "", "leave out what stands between the first paragraph and the line that begins so")
	lines := flag.Int("lines", 40, "how many lines to show, at most")
	flag.Parse()
	text, err := io.ReadAll(os.Stdin)
	if err == nil {
		out := bufio.NewWriter(os.Stdout)
		page(out, *command, cut(string(text), *from), *lines)
		err = out.Flush()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "images:", err)
		os.Exit(1)
	}
}

// head has the colours that connprof uses, as a light terminal shows them.
const head = `<!doctype html><meta charset="utf-8"><style>
body{margin:0;background:#fff}
pre{margin:0;padding:18px 22px;font:14px/20px "DejaVu Sans Mono",monospace;color:#1f2328;background:#f6f8fa;
border:1px solid #d0d7de;border-radius:8px;box-sizing:border-box;overflow:hidden}
.b{font-weight:bold}.d{color:#6e7781}.c31{color:#cf222e}.c32{color:#116329}.c33{color:#9a6700}.c34{color:#0969da}
.c35{color:#8250df}.c36{color:#1b7c83}.p{color:#116329;font-weight:bold}
</style><pre>`

// cut leaves out the lines between the first paragraph and the one that begins as it says, colours aside.
func cut(text, from string) string {
	first, rest, paragraphs := strings.Cut(strings.ReplaceAll(text, "\r\n", "\n"), "\n\n")
	for from != "" && paragraphs && rest != "" {
		row, next, _ := strings.Cut(rest, "\n")
		if strings.HasPrefix(attributes.ReplaceAllString(row, ""), from) {
			return first + "\n\n...\n\n" + rest
		}
		rest = next
	}
	return text
}

// page writes the first lines of a text below the command that made it.
func page(out io.Writer, command, text string, lines int) {
	fmt.Fprint(out, head, `<span class="p">$</span> `, html.EscapeString(command), "\n")
	rows := strings.Split(strings.ReplaceAll(text, "\r\n", "\n"), "\n")
	for _, row := range rows[:min(lines, len(rows))] {
		fmt.Fprintln(out, coloured(row))
	}
	fmt.Fprintln(out, "</pre>")
}

// attributes are the sequences that set how text looks (ECMA-48, SGR).
var attributes = regexp.MustCompile("\x1b\\[([0-9;]*)m")

// coloured has a span for each stretch of a line that looks alike.
func coloured(row string) string {
	var out strings.Builder
	classes, at := "", 0
	put := func(text string) {
		switch {
		case text == "":
		case classes == "":
			out.WriteString(html.EscapeString(text))
		default:
			fmt.Fprintf(&out, `<span class="%s">%s</span>`, strings.TrimSpace(classes), html.EscapeString(text))
		}
	}
	for _, m := range attributes.FindAllStringSubmatchIndex(row, -1) {
		put(row[at:m[0]])
		at = m[1]
		for _, code := range strings.Split(row[m[2]:m[3]], ";") {
			classes = with(classes, code)
		}
	}
	put(row[at:])
	return out.String()
}

// with adds what a code sets to the classes, or takes all away.
func with(classes, code string) string {
	switch code {
	case "", "0":
		return ""
	case "1":
		return classes + " b"
	case "2":
		return classes + " d"
	}
	return classes + " c" + code
}
