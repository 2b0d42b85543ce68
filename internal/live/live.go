// Package live looks at a running host: whose connections hold how much kernel memory. It opens nothing in any network but a
// private one of its own, attaches nothing while it looks, and writes nothing on the host but what a calibration has found, below
// /run. It imports measure, loader and what names owners; what comes out is one machine's part of a recording.
package live
