package filter

import (
	"math"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/connprof/connprof/internal/kernel"
)

func sample() *Fields {
	return &Fields{Role: "server", State: "ESTABLISHED", Local: "10.0.0.1", Remote: "10.0.0.2", LPort: 443, RPort: 51000,
		PID: 900, PIDs: []int{900, 901}, Comm: "nginx", UID: 33, Cgroup: "/system.slice/nginx.service", Container: "1f0e3dad9990",
		Netns: 4026531840, Age: 3600, Idle: 600, PageBytes: 4500, BufferBytes: 9000, RxBytes: 8000, TxBytes: 1000, Unread: 7000,
		Objects: map[string]int{"tcp_sock": 1, "sk_buff": 3}}
}

func TestAnExpressionChooses(t *testing.T) {
	unknown := sample()
	unknown.Idle, unknown.Age = math.NaN(), math.NaN()
	for _, c := range []struct {
		source string
		of     *Fields
		want   bool
	}{
		{`role == "server" and state == "ESTABLISHED"`, sample(), true},
		{`lport == 443 && rport != 51000`, sample(), false},
		{`lport in [80, 443]`, sample(), true},
		{`rport in 1024..65535`, sample(), true},
		{`state in ["CLOSE_WAIT", "FIN_WAIT2"] || comm startsWith "ng"`, sample(), true},
		{`local == "10.0.0.1" and remote matches "^10\\."`, sample(), true},
		{`pid == 900 and uid == 33 and netns == 4026531840`, sample(), true},
		{`cgroup contains "nginx.service" and not (container == "")`, sample(), true},
		{`idle > 300`, sample(), true}, {`idle > 600`, sample(), false},
		{`idle > duration("5m")`, sample(), true}, {`idle >= duration("10m")`, sample(), true}, {`age < duration("1h")`, sample(), false},
		{`age > duration("59m30s") ? unread > 0 : false`, sample(), true},
		{`page_bytes + buffer_bytes > 13000`, sample(), true},
		{`rx_bytes > 4 * tx_bytes`, sample(), true},
		{`objects["sk_buff"] == 3 && objects.tcp_sock == 1`, sample(), true},
		{`objects["epitem"] == 0`, sample(), true},
		{`objects[comm] == 0`, sample(), true},
		{`true`, sample(), true},
		// What is not known is neither more nor less.
		{`idle > 300`, unknown, false}, {`idle <= 300`, unknown, false}, {`age == age`, unknown, false},
	} {
		f, err := Compile(c.source)
		if err != nil {
			t.Errorf("%s: %v", c.source, err)
			continue
		}
		for range 2 { // a filter is used again and again
			if got, err := f.Match(c.of); got != c.want || err != nil {
				t.Errorf("%s is %v, %v; want %v", c.source, got, err, c.want)
			}
		}
		if f.String() != c.source {
			t.Errorf("%s is given as %s", c.source, f)
		}
	}
}

func TestAnErrorIsOneLineWithThePlaceAndTheFields(t *testing.T) {
	for source, say := range map[string]string{
		`lprt == 443`:                    `unknown name lprt, at column 1`,
		`lport == 443 and stat == "x"`:   `unknown name stat, at column 18`,
		`lport == `:                      `unexpected token EOF, at column`,
		"lport == 1 and\n  bogus":        `unknown name bogus, at line 2, column 3`,
		`lport`:                          `expected bool, but got int`,
		``:                               `unexpected token EOF`,
		`lport == "443"`:                 `mismatched types int and string), at column 7`,
		`objects["tcp_sok"] > 0`:         `there is no object type "tcp_sok": the types are tcp_sock `,
		`objects.tcp_sok > 0`:            `there is no object type "tcp_sok"`,
		`idle > duration("5 minutes")`:   `"5 minutes" is no duration: write it like 90s, 5m or 1h30m, at column 8`,
		`idle > duration(5)`:             `duration takes one text`,
		`idle > duration(comm)`:          `duration takes one text`,
		`idle > duration("1m", "2m")`:    `duration takes one text`,
		`PIDs[0] == 1`:                   `unknown name PIDs`,
		`Match(1)`:                       `unknown name Match`,
		`$env.lport == 1`:                `$env is not available`,
		`lport in 0..1000000000`:         `a range goes from number to number, at most 65536`,
		`lport in 0..rport`:              `a range goes from number to number`,
		`comm matches cgroup`:            `matches takes a regular expression in quotes`,
		`comm matches "("`:               `missing closing )`,
		`all(1..1000, # > 0)`:            `there is no function all`,
		`len(comm) > 3`:                  `unknown name len`,
		`let a = comm + comm; a == comm`: `let is not available`,
		"comm == \"\x1b[31m":             `literal not terminated`,
		"role == \x00":                   `unrecognized character`,
		strings.Repeat("(", 5000):        `it is too long, 4096 are the most`,
		strings.Repeat("1+", 1500) + "1": `exceeds maximum allowed nodes`,
	} {
		_, err := Compile(source)
		if err == nil {
			t.Errorf("%.60q is accepted", source)
			continue
		}
		text := err.Error()
		if !strings.Contains(text, say) {
			t.Errorf("%.60q: the error is %q, want %q in it", source, text, say)
		}
		if len(source) <= maxLength && !strings.HasSuffix(text, "; the fields are "+strings.Join(Names, ", ")) {
			t.Errorf("%.60q: the error does not list the fields: %s", source, text)
		}
		if i := strings.IndexFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }); i >= 0 {
			t.Errorf("%.60q: the error is no line of text: %q", source, text)
		}
	}
}

func TestWhatCannotBeWorkedOutIsAnErrorOfThatEndpoint(t *testing.T) {
	f, err := Compile(`lport % pid == 1`)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Match(&Fields{LPort: 443}); err == nil || strings.Contains(err.Error(), "\n") {
		t.Errorf("443 %% 0: %v", err)
	}
	if is, err := f.Match(&Fields{LPort: 443, PID: 2}); !is || err != nil {
		t.Errorf("443 %% 2 == 1: %v, %v", is, err)
	}
}

func TestTheFieldsAreThoseOfTheContract(t *testing.T) {
	want := strings.Fields("role state local remote lport rport pid comm uid cgroup container netns age idle page_bytes buffer_bytes " +
		"rx_bytes tx_bytes unread objects")
	if !slices.Equal(Names, want) {
		t.Errorf("the fields are\n%s, want\n%s", Names, want)
	}
}

func TestFieldsOfAnEndpoint(t *testing.T) {
	e := &kernel.Endpoint{State: kernel.StateEstablished, Local: netip.MustParseAddrPort("[::ffff:10.0.0.1]:443"),
		Remote: netip.MustParseAddrPort("10.0.0.2:51000"), Netns: 7,
		Buffers: kernel.Buffers{Rmem: 100, Wmem: 20, Backlog: 3, Option: 1, Forward: 4096},
		Live:    kernel.Live{UID: 33, Unread: 90, Idle: 1500 * time.Millisecond, Age: -1}}
	e.Objects[kernel.TCPSock], e.Objects[kernel.SKBuff] = 1, 2
	all, err := Compile(`local != remote and objects["sk_buff"] > 0`)
	if err != nil {
		t.Fatal(err)
	}
	f := sample()
	all.Of(f, e)
	if !math.IsNaN(f.Age) {
		t.Errorf("an age that is not known is %v", f.Age)
	}
	f.Age = 0
	want := &Fields{State: "ESTABLISHED", Local: "10.0.0.1", LPort: 443, Remote: "10.0.0.2", RPort: 51000, Netns: 7, UID: 33,
		Idle: 1.5, BufferBytes: 124, RxBytes: 103, TxBytes: 20, Unread: 90}
	if len(f.Objects) != 2 || f.Objects["tcp_sock"] != 1 || f.Objects["sk_buff"] != 2 {
		t.Errorf("the objects are %v", f.Objects)
	}
	f.Objects = nil
	if !equal(f, want) {
		t.Errorf("got\n%+v, want\n%+v", f, want)
	}
	all.Of(f, &kernel.Endpoint{State: kernel.StateListen, Local: netip.MustParseAddrPort("0.0.0.0:80"), Remote: netip.MustParseAddrPort("0.0.0.0:0")})
	if f.Remote != "" || f.RPort != 0 || f.Local != "0.0.0.0" || f.LPort != 80 {
		t.Errorf("a listener is at %s:%d, its peer at %q:%d", f.Local, f.LPort, f.Remote, f.RPort)
	}
	// What the expression does not ask for is not made up, nor left from the one before.
	few, err := Compile(`lport == 443 and objects.tcp_sock == 0`)
	if err != nil {
		t.Fatal(err)
	}
	all.Of(f, e)
	few.Of(f, e)
	if f.Local != "" || f.Remote != "" || f.Objects["tcp_sock"] != 1 || f.LPort != 443 {
		t.Errorf("got %+v", f)
	}
	if Of(f, e); len(f.Objects) != 0 {
		t.Errorf("objects of the endpoint before: %v", f.Objects)
	}
}

// FuzzCompile: an expression is refused in one line of text, or gives the same answer twice.
func FuzzCompile(f *testing.F) {
	for _, source := range []string{`role == "server"`, `idle > duration("5m")`, `objects["sk_buff"] > 2`, `lport in 1..1024`,
		`comm matches "^a+$"`, `lport % pid == 1`, `-lport ** 2 > 1e3`, `(lport == 1 ? comm : role) contains "x"`, `{"a": lport}.a == 1`,
		`any([lport], # > 1)`, `[lport, rport][0] == 443`, `comm[0:2] == "ng"`, `lport ?? 1 == 1`, `if lport > 1 { true } else { false }`, `true; false`,
		`lport | rport`, "\xff\x00", `"\u{10ffff}" == comm`} {
		f.Add(source)
	}
	of := sample()
	f.Fuzz(func(t *testing.T, source string) {
		filter, err := Compile(source)
		if err != nil {
			if i := strings.IndexFunc(err.Error(), func(r rune) bool { return !unicode.IsPrint(r) }); i >= 0 {
				t.Errorf("%q is refused with %q", source, err)
			}
			return
		}
		first, err1 := filter.Match(of)
		second, err2 := filter.Match(of)
		if first != second || (err1 == nil) != (err2 == nil) {
			t.Errorf("%q is %v, %v and then %v, %v", source, first, err1, second, err2)
		}
	})
}

func BenchmarkMatch(b *testing.B) {
	for name, source := range map[string]string{"one field": `lport == 443`,
		"five fields": `role == "server" and lport in [80, 443] and idle > duration("5m") and unread > 0 and objects["sk_buff"] > 2`,
		"a pattern":   `cgroup matches "^/system.slice/.*service$"`} {
		b.Run(name, func(b *testing.B) {
			f, err := Compile(source)
			if err != nil {
				b.Fatal(err)
			}
			of := sample()
			for b.Loop() {
				if is, err := f.Match(of); !is || err != nil {
					b.Fatal(is, err)
				}
			}
		})
	}
	b.Run("all fields of an endpoint", func(b *testing.B) {
		e := &kernel.Endpoint{State: kernel.StateEstablished, Local: netip.MustParseAddrPort("10.0.0.1:443"), Remote: netip.MustParseAddrPort("10.0.0.2:51000")}
		for kind := range 9 {
			e.Objects[kind] = 1
		}
		f := &Fields{}
		all, err := Compile(`local != remote and objects["sk_buff"] > 0`)
		if err != nil {
			b.Fatal(err)
		}
		for b.Loop() {
			all.Of(f, e)
		}
	})
}
