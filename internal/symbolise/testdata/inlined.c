/* Waits in a system call below functions that are inlined, until its standard input has something. */
#include <unistd.h>

static volatile int sink;

__attribute__((always_inline)) static inline int innermost(int fd)
{
	char into;

	return (int)read(fd, &into, 1) + sink;
}

__attribute__((always_inline)) static inline int middle(int fd)
{
	return innermost(fd) * 3;
}

__attribute__((noinline, noclone)) static int outermost(int fd)
{
	return middle(fd) + 1;
}

int main(void)
{
	return outermost(0) + sink;
}
