// Package export writes reports for other programs: pprof, folded stacks, speedscope and CSV, one file a format. The names in
// them are those of a recording, which may have been made by someone else.
package export
