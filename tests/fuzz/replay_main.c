/**
 * @file tests/fuzz/replay_main.c  Run a fuzz target once over every file of a
 * corpus
 *
 * Needs no libFuzzer, so that every build and every test run replays what
 * fuzzing has found.
 */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_BYTES (16u << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* In memory of exactly its size, so that a sanitizer sees a read behind it. */
static int replay(const char *path)
{
	FILE *file = fopen(path, "rb");
	size_t size = 0, got;
	uint8_t *data = NULL;

	if (!file) {
		perror(path);
		return -1;
	}
	do {
		uint8_t *more = realloc(data, size + 4096);

		if (!more || size > MAX_BYTES)
			abort();
		data = more;
		got = fread(data + size, 1, 4096, file);
		size += got;
	} while (got > 0);
	fclose(file);

	uint8_t *exact = malloc(size ? size : 1);

	if (!exact)
		abort();
	memcpy(exact, data, size);
	free(data);
	/* Said before, so that the log of a crash names the file. */
	printf("%s\n", path);
	fflush(stdout);
	(void)LLVMFuzzerTestOneInput(exact, size);
	free(exact);
	return 0;
}

int main(int argc, char **argv)
{
	int count = 0, failed = 0;

	for (int i = 1; i < argc; i++) {
		DIR *dir = opendir(argv[i]);
		const struct dirent *entry;

		if (!dir) {
			perror(argv[i]);
			return EXIT_FAILURE;
		}
		while ((entry = readdir(dir))) {
			char path[4096];

			if (entry->d_name[0] == '.')
				continue;
			snprintf(path, sizeof(path), "%s/%s", argv[i],
				 entry->d_name);
			count++;
			failed += replay(path) < 0;
		}
		closedir(dir);
	}
	printf("%d inputs, %d not read\n", count, failed);
	/* A corpus that is not there is a fault as well. */
	return count > 0 && failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
