package kernel

// ObjectType is a kind of kernel object that an endpoint can hold. The numbers are those of enum object_type in
// bpf/connprof.h.
type ObjectType uint8

// The object types, named after the kernel's structs.
const (
	TCPSock ObjectType = iota
	SocketAlloc
	File
	Dentry
	LSMInode
	LSMFile
	LSMSock
	Epitem
	EppollEntry
	EpitemsHead
	BindBucket
	Bind2Bucket
	RequestSock
	TimewaitSock
	SKBuff
	SKBuffFclones
	SKBHead
	// SlabObjExt is found by computation, not by the walk: see account.
	SlabObjExt
	// NFConn and NFConnExt are what connection tracking has for a connection, once for both ends. They are counted by its own counter.
	NFConn
	NFConnExt
	NumObjectTypes = 20
)

func (t ObjectType) String() string { return Types[t].Name }

// TypeInfo says how objects of one type are recognised.
type TypeInfo struct {
	// Name is the kernel's struct name. The LSM blobs have no struct: each holds what the active security
	// modules asked for, one behind the other.
	Name string
	// Caches are the names under which the kernel creates the cache; SLUB may list it under another one
	// that it was merged with. Empty for what comes from kmalloc.
	Caches []string
	// Sites are the functions that allocate it, as the slab tracepoints report them. Inlining moves the call
	// site up into the caller, so callers are listed as well.
	Sites []string
	// FromSoftirq says that an allocation which may not sleep belongs to the server: the accepted end is
	// created while the last packet of the handshake is received, whichever task is current.
	FromSoftirq bool
}

// Types is the table of object types, indexed by ObjectType.
var Types = [NumObjectTypes]TypeInfo{
	TCPSock:     {Name: "tcp_sock", Caches: []string{"TCP", "TCPv6"}, Sites: []string{"sk_prot_alloc"}, FromSoftirq: true},
	SocketAlloc: {Name: "socket_alloc", Caches: []string{"sock_inode_cache"}, Sites: []string{"sock_alloc_inode"}},
	File:        {Name: "file", Caches: []string{"filp"}, Sites: []string{"alloc_empty_file", "__alloc_file"}},
	Dentry:      {Name: "dentry", Caches: []string{"dentry"}, Sites: []string{"__d_alloc"}},
	LSMInode:    {Name: "lsm_inode", Caches: []string{"lsm_inode_cache"}, Sites: []string{"security_inode_alloc", "lsm_inode_alloc"}},
	LSMFile:     {Name: "lsm_file", Caches: []string{"lsm_file_cache"}, Sites: []string{"security_file_alloc", "lsm_file_alloc"}},
	LSMSock: {Name: "lsm_sock", Sites: []string{"security_sk_alloc", "lsm_sock_alloc", "apparmor_sk_alloc_security",
		"selinux_sk_alloc_security", "lsm_blob_alloc"}, FromSoftirq: true},
	Epitem:       {Name: "epitem", Caches: []string{"eventpoll_epi"}, Sites: []string{"ep_insert", "do_epoll_ctl", "do_epoll_ctl_file"}},
	EppollEntry:  {Name: "eppoll_entry", Caches: []string{"eventpoll_pwq"}, Sites: []string{"ep_ptable_queue_proc"}},
	EpitemsHead:  {Name: "epitems_head", Caches: []string{"ep_head"}, Sites: []string{"ep_insert", "attach_epitem", "do_epoll_ctl", "do_epoll_ctl_file"}},
	BindBucket:   {Name: "inet_bind_bucket", Caches: []string{"tcp_bind_bucket"}, Sites: []string{"inet_bind_bucket_create", "__inet_hash_connect", "inet_csk_get_port"}},
	Bind2Bucket:  {Name: "inet_bind2_bucket", Caches: []string{"tcp_bind2_bucket"}, Sites: []string{"inet_bind2_bucket_create", "__inet_hash_connect", "inet_csk_get_port"}},
	RequestSock:  {Name: "tcp_request_sock", Caches: []string{"request_sock_TCP", "request_sock_TCPv6"}, Sites: []string{"inet_reqsk_alloc", "reqsk_alloc_noprof", "reqsk_alloc"}, FromSoftirq: true},
	TimewaitSock: {Name: "tcp_timewait_sock", Caches: []string{"tw_sock_TCP", "tw_sock_TCPv6"}, Sites: []string{"inet_twsk_alloc"}},
	// Queued data. A sender on this host allocates an sk_buff together with the clone that it sends.
	SKBuff:        {Name: "sk_buff", Caches: []string{"skbuff_head_cache"}, Sites: []string{"__alloc_skb"}},
	SKBuffFclones: {Name: "sk_buff_fclones", Caches: []string{"skbuff_fclone_cache"}, Sites: []string{"__alloc_skb"}},
	// The head of an sk_buff's data has no struct either. Its cache follows from its size.
	SKBHead: {Name: "skb_head", Caches: []string{"skbuff_small_head"}, Sites: []string{"kmalloc_reserve"}},
	// With memory cgroups in use, each slab of an accounted cache has a vector that says whose each object is.
	SlabObjExt: {Name: "slabobj_ext", Sites: []string{"alloc_slab_obj_exts", "memcg_alloc_slab_cgroups", "memcg_alloc_page_obj_cgroups"}},
	NFConn:     {Name: "nf_conn", Caches: []string{"nf_conntrack"}, Sites: []string{"__nf_conntrack_alloc", "nf_conntrack_alloc", "init_conntrack"}},
	// The extensions of an entry (accounting, events, time stamps) lie in one object, which not every entry has.
	NFConnExt: {Name: "nf_ct_ext", Sites: []string{"nf_ct_ext_add"}},
}

// TypesAt lists the types that the named function allocates; most functions allocate one or none.
func TypesAt(function string) []ObjectType {
	return typesByFunction[function]
}

var typesByFunction = func() map[string][]ObjectType {
	m := map[string][]ObjectType{}
	for t := range Types {
		for _, f := range Types[t].Sites {
			m[f] = append(m[f], ObjectType(t))
		}
	}
	return m
}()
