// Package report renders recordings: as text for a terminal, as a self-contained HTML page with a flame graph, and as
// pprof, folded stacks, speedscope and CSV for other programs; and the difference of two recordings in the same formats.
//
// A recording comes in as *recording.Recording and leaves through an io.Writer; nothing else is read, so a report can be
// made without root, on another machine and at another time. The package imports account, the standard library and
// google/pprof/profile, never loader or bpf.
//
// A recording may have been made by someone else: every name in it is treated as untrusted text, and figures that
// contradict each other must not stop a report. The same recording always gives the same bytes.
//
// Sizes are bytes. A per-endpoint figure is a row's total divided by the row's number of endpoints.
package report
