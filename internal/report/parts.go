package report

import (
	"slices"
	"strings"

	"github.com/connprof/connprof/internal/account"
)

// part is one machine's own recording with what a report calls the machine.
type part struct {
	*recording.Recording
	role string // client or server; empty where the recording is of one machine
}

// partsOf divides a recording into its machines, the client's first.
func partsOf(r *recording.Recording) []part {
	own, peer := r.Parts()
	if peer == nil {
		return []part{{own, ""}}
	}
	return []part{{own, "client"}, {peer, "server"}}
}

// measured are the machines that made an account: connprof serve --no-profile makes none.
func measured(r *recording.Recording) []part {
	parts := partsOf(r)
	if len(parts) == 2 && len(parts[1].Hooks) == 0 && len(parts[1].Endpoints) == 0 {
		return parts[:1]
	}
	return parts
}

// accounts are the parts that were each held against a kernel's growth: only one where both ends share a kernel.
func accounts(r *recording.Recording) []part {
	parts := measured(r)
	if shared(r) {
		return []part{{parts[0].Recording, ""}}
	}
	return parts
}

// shared is whether the account of both ends is held against the growth of the one kernel that has both.
func shared(r *recording.Recording) bool { return r.Reconcile.BothEnds && onlyEnd(r) == "" }

// accountOf names the machine, or the machines, whose account is held against a kernel's growth.
func accountOf(r *recording.Recording, p part) string {
	if shared(r) {
		return "of both ends, which share a kernel"
	}
	return p.label()
}

// nameWidth keeps a host's name from breaking the page; the longest that Linux allows is 64.
const nameWidth = 32

func hostName(h *recording.Host) string { return shorten(clean(h.Name), nameWidth) }

// label names a machine by its role and host: server db-7. It is empty where there is only one machine.
func (p part) label() string {
	if p.role == "" {
		return ""
	}
	return strings.TrimSpace(p.role + " " + hostName(&p.Host))
}

// prefixed puts a machine's label before a sentence.
func (p part) prefixed(s string) string {
	if p.role == "" {
		return s
	}
	return p.label() + ": " + s
}

// labelled gives a fact the machine's role for a key.
func (p part) labelled(f fact) fact {
	if p.role == "" {
		return f
	}
	f.Key = p.role
	if name := hostName(&p.Host); name != "" {
		f.Value = name + ": " + f.Value
	}
	return f
}

// lost sums the losses of all machines.
func lost(r *recording.Recording) uint64 {
	n := uint64(0)
	for _, p := range measured(r) {
		n += p.Losses.Total()
	}
	return n
}

// onlyEnd is the one end, client or server, of a run between two machines that the recording has; empty where it has both.
func onlyEnd(r *recording.Recording) string {
	switch {
	case r.Peer != nil && len(measured(r)) == 1:
		return "client"
	case r.Peer == nil && (r.Load.End == "client" || r.Load.End == "server"):
		return r.Load.End
	}
	return ""
}

// onlyEndSentence says plainly what such a recording lacks, and whether it should not: the client's is to have both.
func onlyEndSentence(r *recording.Recording) (sentence string, warn bool) {
	switch end := onlyEnd(r); {
	case end == "client" && r.Peer != nil:
		return "the client's end only: the server made no account of its own", true
	case end == "client":
		return "the client's end only: the server's account is not in this recording", true
	case end == "server":
		return "the server's end only: the client's account is not in this recording", false
	}
	return "", false
}

// notesOf are the notes of all machines. What both say is said once.
func notesOf(r *recording.Recording) []string {
	parts := partsOf(r)
	if len(parts) == 1 {
		return r.Notes
	}
	var notes []string
	near, far := parts[0], parts[1]
	for _, note := range near.Notes {
		if slices.Contains(far.Notes, note) {
			notes = append(notes, "both machines: "+note)
		} else {
			notes = append(notes, near.prefixed(note))
		}
	}
	for _, note := range far.Notes {
		if !slices.Contains(near.Notes, note) {
			notes = append(notes, far.prefixed(note))
		}
	}
	return notes
}

// interruptions say why the ramp ended early on each machine, once where they agree.
func interruptions(r *recording.Recording) []string {
	var list []string
	parts := partsOf(r)
	for i, p := range parts {
		switch {
		case p.Interrupted == "":
		case i == 0 && len(parts) == 2 && p.Interrupted == parts[1].Interrupted:
			return []string{clean(p.Interrupted)}
		default:
			list = append(list, p.prefixed(clean(p.Interrupted)))
		}
	}
	return list
}
