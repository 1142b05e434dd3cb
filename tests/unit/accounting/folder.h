#pragma once
/** @file tests/unit/accounting/folder.h  A folder of a test's own, and files in
 * it; it is the state of the test */
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "test.h"

struct folder {
	char path[64];
	char file[128]; /* what path_in() gave last */
};

static inline int folder_remove_one(const char *path, const struct stat *st,
				    int type, struct FTW *at)
{
	(void)st, (void)type, (void)at;
	return remove(path);
}

static inline int folder_new(void **state)
{
	struct folder *folder = calloc(1, sizeof(*folder));

	strcpy(folder->path, "/tmp/mp-accounting-XXXXXX");
	*state = folder;
	return mkdtemp(folder->path) ? 0 : -1;
}

static inline int folder_free(void **state)
{
	struct folder *folder = *state;
	int err =
		nftw(folder->path, folder_remove_one, 8, FTW_DEPTH | FTW_PHYS);

	free(folder);
	return err;
}

static inline const char *path_in(struct folder *folder, const char *name)
{
	(void)snprintf(folder->file, sizeof(folder->file), "%s/%s",
		       folder->path, name);
	return folder->file;
}

static inline void file_write(struct folder *folder, const char *name,
			      const char *text)
{
	FILE *file = fopen(path_in(folder, name), "w");

	assert_non_null(file);
	assert_true(fputs(text, file) >= 0);
	assert_int_equal(fclose(file), 0);
}

/* Its text on the heap; NULL: there is no such file. */
static inline char *file_read(struct folder *folder, const char *name)
{
	FILE *file = fopen(path_in(folder, name), "r");
	char *text;
	size_t len;

	if (!file)
		return NULL;
	text = calloc(1, 1 << 22);
	assert_non_null(text);
	len = fread(text, 1, (1 << 22) - 1, file);
	text[len] = '\0';
	fclose(file);
	return text;
}

#define IN_FOLDER(name)                                                        \
	cmocka_unit_test_setup_teardown(name, folder_new, folder_free)
