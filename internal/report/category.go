package report

import "strings"

// category groups object types by what they are for, so that a reader needs six colours and not thirty.
type category struct {
	ID    string // CSS class
	Title string
}

var categories = []category{
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

// categoryOf is the index in categories of an object type's category.
func categoryOf(objectType string) int {
	id := "other"
	for _, rule := range categoryRules {
		if strings.HasPrefix(objectType, rule.prefix) {
			id = rule.category
			break
		}
	}
	for i, c := range categories {
		if c.ID == id {
			return i
		}
	}
	return len(categories) - 1
}
