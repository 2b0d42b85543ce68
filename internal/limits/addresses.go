package limits

import "net"

// ClientAddresses is how many addresses of this host an ordinary program can connect to other hosts from: those of interfaces
// that are up, of the family that has more, without loopback and link-local ones. It is 1 where there are none, for loopback.
func ClientAddresses() uint64 {
	var up []net.Addr
	interfaces, _ := net.Interfaces() // none, where that fails
	for _, i := range interfaces {
		if i.Flags&net.FlagUp != 0 {
			own, _ := i.Addrs()
			up = append(up, own...)
		}
	}
	return clientAddresses(up)
}

func clientAddresses(list []net.Addr) uint64 {
	var v4, v6 uint64
	for _, a := range list {
		n, ok := a.(*net.IPNet)
		switch {
		case !ok || !n.IP.IsGlobalUnicast():
		case n.IP.To4() != nil:
			v4++
		default:
			v6++
		}
	}
	return max(v4, v6, 1)
}
