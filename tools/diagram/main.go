// Command diagram draws the packages and the flow of data as SVG. Where the boxes stand is in docs/images/architecture.txt;
// the arrows of the imports come from the table that test/layout holds the code against. The same input gives the same
// bytes, so that make lint can tell whether the committed picture is up to date.
package main

import (
	"bytes"
	"flag"
	"fmt"
	"os"
)

func main() {
	check := flag.Bool("check", false, "write nothing, and fail where the picture is not what the texts give")
	flag.Parse()
	if flag.NArg() != 3 {
		fmt.Fprintln(os.Stderr, "usage: diagram [-check] TABLE.md BOXES.txt PICTURE.svg")
		os.Exit(2)
	}
	if err := run(flag.Arg(0), flag.Arg(1), flag.Arg(2), *check); err != nil {
		fmt.Fprintln(os.Stderr, "diagram:", err)
		os.Exit(1)
	}
}

// run draws the picture, or compares it with the one that is there.
func run(page, boxes, picture string, check bool) error {
	d, err := read(page, boxes)
	if err != nil {
		return err
	}
	svg := d.svg()
	if !check {
		return os.WriteFile(picture, svg, 0o644)
	}
	there, err := os.ReadFile(picture)
	if err != nil {
		return fmt.Errorf("compare the picture: %w", err)
	}
	if !bytes.Equal(there, svg) {
		return fmt.Errorf("%s is not what %s and %s give: commit what make diagram makes", picture, page, boxes)
	}
	return nil
}
