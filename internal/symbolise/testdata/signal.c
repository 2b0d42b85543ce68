/* Waits in a system call within a signal handler, which interrupts a known path. With an argument the handler has a stack of
 * its own. */
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

static volatile int sink;

static void handler(int number)
{
	char into;

	sink = number + (int)read(0, &into, 1);
}

__attribute__((noinline, noclone)) static int interrupted(int n)
{
	raise(SIGUSR1);
	return sink + n;
}

int main(int argc, char **argv)
{
	struct sigaction action = { .sa_handler = handler };
	stack_t stack = { .ss_size = 1 << 16 };

	(void)argv;
	if (argc > 1) {
		stack.ss_sp = malloc(stack.ss_size);
		sigaltstack(&stack, NULL);
		action.sa_flags = SA_ONSTACK;
	}
	sigaction(SIGUSR1, &action, NULL);
	return interrupted(argc) + 1;
}
