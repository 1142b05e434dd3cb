#include "accounting/backend.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "folder.h"

struct run {
	struct folder *folder;
	struct conf *conf;
	void *state;
	struct buf why;
};

static int start(struct run *run, struct folder *folder, const char *path,
		 unsigned keep)
{
	struct backend_config config = {.state_dir = folder->path};

	*run = (struct run){.folder = folder};
	run->conf = calloc(1, sizeof(*run->conf));
	assert_non_null(run->conf);
	(void)snprintf(run->conf->file.path, sizeof(run->conf->file.path), "%s",
		       path);
	run->conf->file.rotate_mib = 1;
	run->conf->file.keep = keep;
	config.conf = run->conf;
	return file_backend.start(&run->state, &config, &run->why);
}

static void stop(struct run *run)
{
	if (run->state)
		file_backend.stop(run->state);
	free(run->conf);
	buf_done(&run->why);
}

static int deliver(struct run *run, const char *const *texts)
{
	struct delivery batch[8] = {0};
	size_t count = 0;
	int err;

	buf_reset(&run->why);
	for (; texts[count]; count++)
		batch[count].record.json = span_of(texts[count]);
	err = file_backend.deliver(run->state, batch, count, &run->why);
	for (size_t i = 0; i < count; i++)
		assert_int_equal(batch[i].outcome,
				 err < 0 ? DELIVERY_LATER : DELIVERY_DONE);
	return err;
}

#define DELIVER(run, ...) deliver(run, (const char *const[]){__VA_ARGS__, NULL})

static void holds(struct folder *folder, const char *name, const char *expected)
{
	CLEANUP(freep) char *text = file_read(folder, name);

	if (expected)
		assert_string_equal(text, expected);
	else
		assert_null(text);
}

/* A record of half a MiB, so that two of them fill a file. */
static char *big(char letter)
{
	char *text = calloc(1, (512 << 10) + 1);

	assert_non_null(text);
	memset(text, letter, 512 << 10);
	return text;
}

static void test_each_record_is_a_line(void **state)
{
	struct run run;

	assert_int_equal(start(&run, *state, "a.json", 3), 0);
	holds(*state, "a.json", NULL);
	assert_int_equal(DELIVER(&run, "{1}", "{2}"), 0);
	assert_int_equal(DELIVER(&run, "{\n3\r\n}"), 0);
	holds(*state, "a.json", "{1}\n{2}\n{ 3  }\n");
	stop(&run);
	assert_int_equal(start(&run, *state, "a.json", 3), 0);
	assert_int_equal(DELIVER(&run, "{4}"), 0);
	holds(*state, "a.json", "{1}\n{2}\n{ 3  }\n{4}\n");
	stop(&run);
}

static void test_nobody_else_may_read_it(void **state)
{
	struct stat st;
	struct run run;

	assert_int_equal(start(&run, *state, "a.json", 3), 0);
	assert_int_equal(DELIVER(&run, "{}"), 0);
	assert_int_equal(stat(path_in(*state, "a.json"), &st), 0);
	assert_int_equal(st.st_mode & 07, 0);
	stop(&run);
}

static void test_a_line_that_a_crash_left_is_ended(void **state)
{
	struct run run;

	file_write(*state, "a.json", "{1}\n{\"half\":");
	assert_int_equal(start(&run, *state, "a.json", 3), 0);
	assert_int_equal(DELIVER(&run, "{2}"), 0);
	holds(*state, "a.json", "{1}\n{\"half\":\n{2}\n");
	stop(&run);
}

static void test_full_files_get_numbers_and_the_oldest_goes(void **state)
{
	CLEANUP(freep) char *text = big('x');
	struct run run;

	assert_int_equal(start(&run, *state, "a.json", 2), 0);
	for (const char *name = "1234"; *name; name++) {
		text[0] = *name;
		/* The second one does not fit any more: 1 MiB and 2 bytes. */
		assert_int_equal(DELIVER(&run, text), 0);
	}
	for (unsigned i = 0; i < 4; i++) {
		static const char *const files[] = {"a.json", "a.json.1",
						    "a.json.2", "a.json.3"};
		CLEANUP(freep) char *found = file_read(*state, files[i]);

		if (i == 3) {
			assert_null(found);
			continue;
		}
		assert_int_equal(found[0], '4' - (int)i);
		assert_int_equal(strlen(found), (512 << 10) + 1);
	}
	stop(&run);
}

static void test_a_batch_is_not_torn_by_rotation(void **state)
{
	CLEANUP(freep) char *a = big('a');
	CLEANUP(freep) char *b = big('b');
	struct run run;

	assert_int_equal(start(&run, *state, "a.json", 9), 0);
	assert_int_equal(DELIVER(&run, "{1}"), 0);
	assert_int_equal(DELIVER(&run, a, b, "{2}"), 0);
	assert_int_equal(DELIVER(&run, "{3}"), 0);
	holds(*state, "a.json.2", "{1}\n");
	holds(*state, "a.json", "{3}\n");
	stop(&run);
}

static void test_none_are_kept_where_none_are_wanted(void **state)
{
	CLEANUP(freep) char *a = big('a');
	struct run run;

	assert_int_equal(start(&run, *state, "a.json", 0), 0);
	assert_int_equal(DELIVER(&run, a, "{1}"), 0);
	assert_int_equal(DELIVER(&run, a, "{2}"), 0);
	assert_int_equal(DELIVER(&run, "{3}"), 0);
	holds(*state, "a.json.1", NULL);
	stop(&run);
}

static void test_a_file_that_was_moved_away_is_made_again(void **state)
{
	char moved[sizeof(((struct folder *)0)->file)];
	struct run run;

	assert_int_equal(start(&run, *state, "a.json", 3), 0);
	assert_int_equal(DELIVER(&run, "{1}"), 0);
	strcpy(moved, path_in(*state, "old"));
	assert_int_equal(rename(path_in(*state, "a.json"), moved), 0);
	assert_int_equal(DELIVER(&run, "{2}"), 0);
	holds(*state, "old", "{1}\n");
	holds(*state, "a.json", "{2}\n");
	assert_int_equal(unlink(path_in(*state, "a.json")), 0);
	assert_int_equal(DELIVER(&run, "{3}"), 0);
	holds(*state, "a.json", "{3}\n");
	stop(&run);
}

static void test_a_gap_in_the_numbers_stops_nothing(void **state)
{
	CLEANUP(freep) char *a = big('a');
	struct run run;

	file_write(*state, "a.json.2", "old\n");
	assert_int_equal(start(&run, *state, "a.json", 5), 0);
	assert_int_equal(DELIVER(&run, a, a), 0);
	assert_int_equal(DELIVER(&run, "{1}"), 0);
	holds(*state, "a.json.3", "old\n");
	holds(*state, "a.json.2", NULL);
	holds(*state, "a.json", "{1}\n");
	stop(&run);
}

static void test_start_says_what_is_wrong_with_the_place(void **state)
{
	struct run run;

	assert_int_equal(start(&run, *state, "gone/a.json", 3), -EINVAL);
	assert_non_null(strstr(run.why.data, "there is no folder"));
	stop(&run);
	assert_int_equal(start(&run, *state, "/dev/null", 3), -EINVAL);
	assert_non_null(strstr(run.why.data, "/dev/null is no file"));
	stop(&run);
	assert_int_equal(start(&run, *state, ".", 3), -EINVAL);
	stop(&run);
}

static void test_a_folder_that_went_away_is_said_and_may_come_back(void **state)
{
	struct run run;

	assert_int_equal(mkdir(path_in(*state, "sub"), 0700), 0);
	assert_int_equal(start(&run, *state, "sub/a.json", 3), 0);
	assert_int_equal(rmdir(path_in(*state, "sub")), 0);
	assert_int_equal(DELIVER(&run, "{1}"), -ENOENT);
	assert_non_null(strstr(run.why.data, "sub/a.json: No such file"));
	assert_int_equal(mkdir(path_in(*state, "sub"), 0700), 0);
	assert_int_equal(DELIVER(&run, "{1}"), 0);
	holds(*state, "sub/a.json", "{1}\n");
	stop(&run);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		IN_FOLDER(test_each_record_is_a_line),
		IN_FOLDER(test_nobody_else_may_read_it),
		IN_FOLDER(test_a_line_that_a_crash_left_is_ended),
		IN_FOLDER(test_full_files_get_numbers_and_the_oldest_goes),
		IN_FOLDER(test_a_batch_is_not_torn_by_rotation),
		IN_FOLDER(test_none_are_kept_where_none_are_wanted),
		IN_FOLDER(test_a_file_that_was_moved_away_is_made_again),
		IN_FOLDER(test_a_gap_in_the_numbers_stops_nothing),
		IN_FOLDER(test_start_says_what_is_wrong_with_the_place),
		IN_FOLDER(
			test_a_folder_that_went_away_is_said_and_may_come_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
