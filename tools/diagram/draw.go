package main

import (
	"bytes"
	"fmt"
	"html"
	"maps"
	"slices"
)

// Sizes in the picture's own units; a column is as wide as the longest name needs.
const (
	column, row   = 172, 86
	gap, height   = 20, 40
	margin        = 4
	columns, rows = 8, 8
	// apart is how far an arrow of data stands from the arrow of the import that it runs against.
	apart = 14
)

// style has the colours twice: a page in dark mode shows the picture in its own.
const style = `<style>
text{font:13px system-ui,"DejaVu Sans",sans-serif;fill:#1f2937}
.box{fill:#f9fafb;stroke:#6b7280}
.kernel{fill:#e5e7eb;stroke:#6b7280}
.import{stroke:#9ca3af;stroke-width:1.2;fill:none}
.flow{stroke:#2563eb;stroke-width:2.6;fill:none}
.what{font-size:12px;fill:#1d4ed8}
#import path{fill:#9ca3af}#flow path{fill:#2563eb}
@media(prefers-color-scheme:dark){
text{fill:#e5e7eb}.box{fill:#1f2937;stroke:#9ca3af}.kernel{fill:#374151;stroke:#9ca3af}
.import{stroke:#6b7280}#import path{fill:#6b7280}
.flow{stroke:#60a5fa}#flow path{fill:#60a5fa}.what{fill:#93c5fd}}
</style>
<defs>
<marker id="import" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" markerHeight="8" orient="auto"><path d="M0 0L8 4L0 8z"/></marker>
<marker id="flow" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="5" markerHeight="5" orient="auto"><path d="M0 0L8 4L0 8z"/></marker>
</defs>
`

// Edges of a box.
func (b box) left() int   { return margin + b.first*column + gap/2 }
func (b box) right() int  { return margin + (b.last+1)*column - gap/2 }
func (b box) top() int    { return margin + b.row*row }
func (b box) under() int  { return b.top() + height }
func (b box) middle() int { return (b.left() + b.right()) / 2 }

// between is where an arrow leaves one box and meets the other: from side to side within a row, straight up or down where
// the boxes share columns, else from middle to middle. It stands aside from there by so much.
func between(from, to box, aside int) (x1, y1, x2, y2 int) {
	if from.row == to.row {
		y := from.top() + height/2 - aside/2
		if from.first < to.first {
			return from.right(), y, to.left(), y
		}
		return from.left(), y, to.right(), y
	}
	x1, x2 = from.middle()+aside, to.middle()+aside
	if first, last := max(from.left(), to.left()), min(from.right(), to.right()); first < last {
		x1, x2 = (first+last)/2+aside, (first+last)/2+aside
	}
	if from.row < to.row {
		return x1, from.under(), x2, to.top()
	}
	return x1, from.top(), x2, to.under()
}

func (d *diagram) svg() []byte {
	var out bytes.Buffer
	fmt.Fprintf(&out, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" role="img">`+"\n",
		2*margin+columns*column, 2*margin+(rows-1)*row+height)
	out.WriteString("<title>The packages of connprof: who imports whom, and how data flows</title>\n" + style)
	for _, name := range slices.Sorted(maps.Keys(d.table)) {
		for _, to := range d.table.Direct(name) {
			d.arrow(&out, "import", name, to, 0)
		}
	}
	for _, f := range d.flows {
		x, y := d.arrow(&out, "flow", f.from, f.to, apart)
		if f.what == "" {
			continue
		}
		fmt.Fprintf(&out, `<text class="what" x="%d" y="%d">%s</text>`+"\n", x+8, y+4, html.EscapeString(f.what))
	}
	for _, name := range slices.Sorted(maps.Keys(d.boxes)) {
		d.draw(&out, name)
	}
	out.WriteString("</svg>\n")
	return out.Bytes()
}

// arrow draws one from box to box, aside from the middle, and returns its own middle. Those to internal/kernel are left out:
// every package may import it.
func (d *diagram) arrow(out *bytes.Buffer, class, from, to string, aside int) (x, y int) {
	source, drawn := d.boxes[from]
	target := d.boxes[to]
	if !drawn || to == "internal/kernel" {
		return 0, 0
	}
	x1, y1, x2, y2 := between(source, target, aside)
	fmt.Fprintf(out, `<path class="%s" marker-end="url(#%s)" d="M%d %dL%d %d"/>`+"\n", class, class, x1, y1, x2, y2)
	return (x1 + x2) / 2, (y1 + y2) / 2
}

func (d *diagram) draw(out *bytes.Buffer, name string) {
	b, class := d.boxes[name], "box"
	if _, is := d.table[name]; !is {
		class = "kernel"
	}
	fmt.Fprintf(out, `<rect class="%s" x="%d" y="%d" width="%d" height="%d" rx="6"/>`+"\n",
		class, b.left(), b.top(), b.right()-b.left(), height)
	fmt.Fprintf(out, `<text x="%d" y="%d" text-anchor="middle">%s</text>`+"\n", b.middle(), b.top()+height/2+5, html.EscapeString(name))
}
