// Package report works out what is shown of a recording, and of the difference of two: sections, facts, tables, warnings.
// The packages below it show that: text on a terminal, html as a page, export to other programs.
//
// A recording comes in as *recording.Recording and leaves as a Report; nothing else is read, so a report can be made without
// root, on another machine and at another time. The package imports recording, kernel for its names, and format. It never
// imports loader, bpf or what is below it.
//
// A recording may have been made by someone else: every name in it is treated as untrusted text, and figures that
// contradict each other must not stop a report. The same recording always gives the same report.
//
// Sizes are bytes. A per-endpoint figure is a row's total divided by the row's number of endpoints.
package report
