#include "accounting/backend.h"

#include <errno.h>

#include "base/cleanup.h"
#include "folder.h"

static int start(void **ret, struct folder *folder, struct conf *conf,
		 struct buf *why)
{
	const struct backend_config config = {.conf = conf,
					      .config_dir = folder->path,
					      .state_dir = folder->path};

	strcpy(conf->radius.config_file, "client.conf");
	return radius_backend.start(ret, &config, why);
}

static void test_it_does_not_start_without_its_file(void **state)
{
	CLEANUP(freep) struct conf *conf = calloc(1, sizeof(*conf));
	CLEANUP(buf_done) struct buf why = {0};
	void *radius = NULL;

	assert_int_equal(start(&radius, *state, conf, &why), -EINVAL);
	assert_non_null(strstr(why.data, "/client.conf: No such file"));
	assert_null(radius);
}

static void test_what_is_no_json_is_refused_and_stops_no_other(void **state)
{
	CLEANUP(freep) struct conf *conf = calloc(1, sizeof(*conf));
	CLEANUP(buf_done) struct buf why = {0};
	struct delivery batch[2] = {0};
	void *radius;

	/* Port 1 on loopback: nobody listens there. */
	file_write(*state, "client.conf",
		   "acctserver 127.0.0.1:1:x\nradius_timeout 1\n"
		   "radius_retries 0\n");
	assert_int_equal(start(&radius, *state, conf, &why), 0);
	batch[0].record.json = SPAN("{\"call_id\"");
	batch[1].record.json = SPAN("{}");
	assert_true(radius_backend.deliver(radius, batch, 2, &why) < 0);
	assert_int_equal(batch[0].outcome, DELIVERY_REFUSED);
	assert_string_equal(batch[0].reason, "the record is no JSON object");
	assert_int_equal(batch[1].outcome, DELIVERY_LATER);
	assert_non_null(strstr(why.data, "127.0.0.1:1: "));
	assert_int_equal(radius_backend.interim(radius, &batch[0].record, &why),
			 -EBADMSG);
	radius_backend.stop(radius);
}

static void test_backends_have_the_names_of_the_configuration(void **state)
{
	(void)state;
	assert_string_equal(radius_backend.name, "radius");
	assert_string_equal(radius_backend.section, "Radius");
	assert_string_equal(file_backend.name, "file");
	assert_string_equal(file_backend.section, "File");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		IN_FOLDER(test_it_does_not_start_without_its_file),
		IN_FOLDER(test_what_is_no_json_is_refused_and_stops_no_other),
		cmocka_unit_test(
			test_backends_have_the_names_of_the_configuration),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
