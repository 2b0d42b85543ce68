package report

import "strings"

// Category groups object types by what they are for, so that a reader needs six colours and not thirty.
type Category struct {
	ID    string // CSS class
	Title string
}

// Categories are all there are.
var Categories = []Category{
	{"sock", "TCP socket"},
	{"vfs", "file and inode"},
	{"epoll", "epoll"},
	{"bind", "port binding"},
	{"lsm", "security module"},
	{"other", "other"},
}

// categoryRules are tried in order; the first prefix that fits decides.
var categoryRules = []struct {
	prefix   string
	category string
}{
	{"tcp_sock", "sock"}, {"tcp6_sock", "sock"}, {"tcp_timewait", "sock"}, {"tcp_request", "sock"},
	{"inet_timewait", "sock"}, {"inet_request", "sock"}, {"request_sock", "sock"}, {"tw_sock", "sock"},
	{"socket_alloc", "vfs"}, {"file", "vfs"}, {"dentry", "vfs"}, {"inode", "vfs"},
	{"epitem", "epoll"}, {"eppoll", "epoll"}, {"eventpoll", "epoll"}, {"epitems", "epoll"},
	{"inet_bind", "bind"},
	{"lsm_", "lsm"}, {"selinux", "lsm"}, {"apparmor", "lsm"}, {"aa_", "lsm"}, {"sk_security", "lsm"},
}

// CategoryOf is the index in Categories of an object type's category.
func CategoryOf(objectType string) int {
	id := "other"
	for _, rule := range categoryRules {
		if strings.HasPrefix(objectType, rule.prefix) {
			id = rule.category
			break
		}
	}
	for i, c := range Categories {
		if c.ID == id {
			return i
		}
	}
	return len(Categories) - 1
}
