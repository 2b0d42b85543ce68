/* host LIBRARY PORT OPENS SECONDS loads the library when it runs, and has it do all. */
#include <dlfcn.h>
#include <stdio.h>

int main(int argc, char **argv)
{
	void *library = argc == 5 ? dlopen(argv[1], RTLD_NOW) : NULL;
	int (*leak_main)(int, char **) = library ? (int (*)(int, char **))dlsym(library, "leak_main") : NULL;

	if (!leak_main) {
		fprintf(stderr, "host: %s\n", argc == 5 ? dlerror() : "usage: host LIBRARY PORT OPENS SECONDS");
		return 2;
	}
	return leak_main(argc - 1, argv + 1);
}
