# Opens connections over 127.0.0.1 one by one, as any program would: the kernel picks the client's port, and each end's
# process has one table of files. It holds them all and ends at the first error. For docs/guide/limits.md.
#
#   perl test/hold/hold.pl N           a second process accepts them
#   perl test/hold/hold.pl N queue     nobody accepts them
#   perl test/hold/hold.pl N silent   nobody accepts them, and the handshake is to end with data, which does not come
#   perl test/hold/hold.pl N close     each is closed as soon as it is open, by the client
#   perl test/hold/hold.pl N fork      a process for each accepted one
use strict;
use Socket;

my ($wanted, $how) = (@ARGV, 'hold');
my $server = sockaddr_in(8090, INADDR_LOOPBACK);
my (@held, @children);

socket(my $listener, PF_INET, SOCK_STREAM, 0) or die "socket: $!\n";
bind($listener, $server) or die "bind: $!\n";
my $tcp_defer_accept = 9; # of IPPROTO_TCP, 6; in seconds
if ($how eq "silent") { setsockopt($listener, 6, $tcp_defer_accept, 60) or die "setsockopt: $!\n" }
listen($listener, 1 << 16) or die "listen: $!\n";

sub child { # runs its argument in a process of its own, for a minute at most
    my $pid = fork() // return;
    if (!$pid) { alarm 60; $_[0]->(); exit }
    push @children, $pid;
}

sub stop { kill 'KILL', @children; waitpid($_, 0) for @children }

sub fail { my $error = "$_[0]: $!"; stop(); die "$error\n" }

if ($how eq 'hold') {
    child(sub { while (1) { my $end; accept($end, $listener) ? push(@held, $end) : sleep 1 } }) or fail("fork");
    close $listener;
}
for my $n (1 .. $wanted) {
    socket(my $client, PF_INET, SOCK_STREAM, 0) or fail("connection $n: socket");
    connect($client, $server) or fail("connection $n: connect");
    if ($how eq 'close' or $how eq 'fork') {
        accept(my $accepted, $listener) or fail("connection $n: accept");
        if ($how eq 'close') { close $client; close $accepted; next }
        child(sub { sleep 1000 }) or fail("connection $n: fork");
    }
    push @held, $client;
}
stop();
print "$wanted connections\n";
