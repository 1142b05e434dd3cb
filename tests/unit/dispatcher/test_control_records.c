#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>

#include "../accounting/scene.h"
#include "../management/daemon.h"
#include "../store/disk.h"
#include "accounting/backends.h"
#include "base/cleanup.h"
#include "dispatcher/control_records.h"
#include "management/api.h"

/* A store, accounting with one backend that is never begun, and the API before
 * them: what clients hear, and what is left when somebody goes. */

static int begin_backend(void **ret_state, const struct backend_config *config,
			 struct buf *ret_why)
{
	(void)config;
	(void)ret_why;
	*ret_state = NULL;
	return 0;
}

static const struct backend file = {
	.name = "file", .batch = 1, .start = begin_backend};

const struct backend *backend_find(struct span name)
{
	return span_equal(name, SPAN("file")) ? &file : NULL;
}

struct stage {
	struct scene scene;
	struct daemon_world world; /* the same loop */
	struct conf conf;
	struct backend_config config;
	struct accounting *accounting;
	struct management_api *api;
	struct sockaddr_un at;
};

static struct stage stage;

static void history(struct management_request *request, void *arg)
{
	(void)arg;
	control_show_history(stage.accounting, request);
}

static void accounting(struct management_request *request, void *arg)
{
	(void)arg;
	control_show_accounting(stage.accounting, request);
}

static void set_aside(struct management_request *request, void *arg)
{
	(void)arg;
	control_show_set_aside(stage.accounting, request);
}

static void retry(struct management_request *request, void *arg)
{
	(void)arg;
	control_retry(stage.accounting, request);
}

static const struct management_handlers handlers = {
	.history = history,
	.accounting = accounting,
	.set_aside = set_aside,
	.retry = retry,
};

static int setup(void **state)
{
	(void)state;
	memset(&stage, 0, sizeof(stage));
	log_set_level(LOG_LEVEL_ERROR + 1);
	scene_init(&stage.scene);
	stage.world.loop = stage.scene.loop;
	assert_int_equal(timer_new(&stage.world.watchdog, stage.world.loop,
				   world_timed_out, &stage.world),
			 0);
	strcpy(stage.conf.dispatcher.accounting, "file");
	stage.config.conf = &stage.conf;
	return 0;
}

/* Behind what the test has put into the store. */
static void begin(void)
{
	struct buf why = {0};

	assert_int_equal(accounting_new(&stage.accounting, stage.scene.loop,
					stage.scene.store, stage.scene.path,
					&stage.config, &why),
			 0);
	scene_start(&stage.scene);
	stage.at.sun_family = AF_UNIX;
	snprintf(stage.at.sun_path, sizeof(stage.at.sun_path), "%s/ctl",
		 stage.scene.folder);
	assert_int_equal(management_api_new(&stage.api, stage.scene.loop,
					    stage.at.sun_path, &handlers, NULL),
			 0);
	buf_done(&why);
}

/* In the daemon's order: the API, the store, accounting. */
static int teardown(void **state)
{
	(void)state;
	disk_set_full(false);
	disk_set_stalled(false);
	management_api_free(stage.api);
	timer_free(stage.world.watchdog);
	accounting_stop(stage.accounting, 0);
	scene_done(&stage.scene);
	accounting_free(stage.accounting);
	return 0;
}

static void ask(struct client *client, const char *method, const char *target,
		const char *body)
{
	char text[512];

	client_init(client, &stage.world, (struct sockaddr *)&stage.at,
		    sizeof(stage.at));
	snprintf(text, sizeof(text),
		 "%s /api/v1/%s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
		 "Content-Length: %zu\r\n\r\n%s",
		 method, target, strlen(body), body);
	client_say(client, text);
}

/* The body of the answer; for the next call too. */
static const char *answer(const char *status, const char *method,
			  const char *target, const char *body)
{
	static char text[65536];
	struct client client;
	const char *end;

	ask(&client, method, target, body);
	client_is_closed(&client);
	assert_non_null(client.text.data);
	assert_memory_equal(client.text.data + strlen("HTTP/1.1 "), status, 3);
	end = strstr(client.text.data, "\r\n\r\n");
	assert_non_null(end);
	snprintf(text, sizeof(text), "%s", end + 4);
	client_done(&client);
	return text;
}

static int count(const char *text, const char *word)
{
	int found = 0;

	while ((text = strstr(text, word))) {
		text += strlen(word);
		found++;
	}
	return found;
}

static void aside(int64_t seq)
{
	assert_int_equal(spool_set_aside(store_db(stage.scene.store), "file",
					 seq, "too long", 0),
			 SQLITE_OK);
}

static void test_nothing_there_is_an_empty_array(void **state)
{
	(void)state;
	begin();
	assert_string_equal(answer("200", "GET", "history", ""), "[]");
	assert_string_equal(answer("200", "GET", "accounting/set-aside", ""),
			    "[]");
	assert_string_equal(answer("200", "PUT", "accounting/retry", ""),
			    "{\"retried\": 0}");
}

static void test_the_history_comes_in_pages(void **state)
{
	(void)state;
	scene_fill(&stage.scene, 1, 1100);
	begin();
	assert_int_equal(count(answer("200", "GET", "history", ""), "\"seq\""),
			 100);
	assert_int_equal(
		count(answer("200", "GET", "history?limit=2", ""), "\"seq\""),
		2);
	assert_non_null(
		strstr(answer("200", "GET", "history?limit=1&before=1099", ""),
		       "[{\"seq\": 1098, "));
	assert_string_equal(answer("200", "GET", "history?before=1", ""), "[]");
	assert_int_equal(count(answer("200", "GET", "history?call_id=c7", ""),
			       "\"seq\": 7,"),
			 1);
	answer("400", "GET", "history?limit=1001", "");
	answer("400", "GET", "history?limit=0", "");
	answer("400", "GET", "history?before=x", "");
	answer("400", "GET", "accounting/set-aside?limit=all", "");
}

static void test_a_page_of_big_records_is_cut_short(void **state)
{
	static char json[2 << 20];
	struct record record;
	struct client client;
	int64_t seq;

	(void)state;
	memset(json, ' ', sizeof(json));
	memcpy(json, "{\"x\": 1", 7);
	memcpy(json + sizeof(json) - 2, "}", 2);
	for (int i = 0; i < 5; i++) {
		char id[16];

		snprintf(id, sizeof(id), "r%d", i);
		record = record_make("c", id, json);
		assert_int_equal(spool_add(store_db(stage.scene.store), &record,
					   0, &seq),
				 SQLITE_OK);
	}
	begin();
	ask(&client, "GET", "history", "");
	client_is_closed(&client);
	assert_int_equal(count(client.text.data, "\"seq\""), 3);
	client_done(&client);
}

static void test_the_state_of_accounting_has_its_backends(void **state)
{
	const char *text;

	(void)state;
	scene_fill(&stage.scene, 1, 2);
	aside(1);
	begin();
	text = answer("200", "GET", "accounting", "");
	assert_non_null(strstr(text, "{\"accounting\": {\"disk_failing\": "
				     "false, "));
	assert_non_null(strstr(text, "\"backends\": [{\"name\": \"file\""));
	assert_non_null(strstr(text, "\"aside\": 1"));
}

static void test_what_is_set_aside_is_tried_again(void **state)
{
	(void)state;
	scene_fill(&stage.scene, 1, 3);
	for (int64_t seq = 1; seq <= 3; seq++)
		aside(seq);
	begin();
	assert_int_equal(count(answer("200", "GET",
				      "accounting/set-aside?backend=file", ""),
			       "\"reason\": \"too long\", \"retry\": false"),
			 3);
	assert_string_equal(answer("200", "PUT", "accounting/retry",
				   "{\"record_id\": \"r2\"}"),
			    "{\"retried\": 1}");
	/* It was on disk before it was answered. */
	assert_int_equal(count(answer("200", "GET", "accounting/set-aside", ""),
			       "\"retry\": true"),
			 1);
	assert_string_equal(answer("200", "PUT", "accounting/retry",
				   "{\"backend\": \"file\"}"),
			    "{\"retried\": 3}");
}

static void test_a_wrong_retry_says_what_is_right(void **state)
{
	static const char *const bad[] = {"[]",
					  "{",
					  "null",
					  "{\"backend\": 7}",
					  "{\"record\": \"r1\"}",
					  "{\"record_id\": \"\"}"};

	(void)state;
	scene_fill(&stage.scene, 1, 1);
	aside(1);
	begin();
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_non_null(
			strstr(answer("400", "PUT", "accounting/retry", bad[i]),
			       "record_id"));
	assert_string_equal(answer("400", "PUT", "accounting/retry",
				   "{\"backend\": \"radius\"}"),
			    "{\"error\": \"no such backend is configured; "
			    "there is file\"}");
	answer("400", "PUT", "accounting/retry", "{\"backend\": \"\"}");
	assert_int_equal(count(answer("200", "GET", "accounting/set-aside", ""),
			       "\"retry\": false"),
			 1);
}

static void test_a_disk_that_cannot_be_read_is_the_reason(void **state)
{
	(void)state;
	begin();
	assert_int_equal(
		store_exec(store_db(stage.scene.store), "DROP TABLE records"),
		SQLITE_OK);
	assert_non_null(
		strstr(answer("503", "GET", "history", ""), "no such table"));
}

/* The writer hangs: a retry waits for it. */
static void open_retry(struct client *client)
{
	scene_fill(&stage.scene, 1, 1);
	aside(1);
	begin();
	disk_set_stalled(true);
	ask(client, "PUT", "accounting/retry", "");
	client_hears_nothing(client);
}

static void test_a_retry_is_answered_when_it_is_on_disk(void **state)
{
	struct client client;

	(void)state;
	open_retry(&client);
	disk_set_stalled(false);
	client_is_closed(&client);
	assert_non_null(strstr(client.text.data, "{\"retried\": 1}"));
	client_done(&client);
}

static void test_a_client_may_go_before_the_disk_answers(void **state)
{
	struct client client;

	(void)state;
	open_retry(&client);
	client_done(&client);
	world_turns(&stage.world, 5);
	disk_set_stalled(false);
	assert_non_null(strstr(answer("200", "PUT", "accounting/retry", ""),
			       "{\"retried\": 1}"));
}

static void test_the_daemon_may_stop_before_the_disk_answers(void **state)
{
	struct client clients[4];

	(void)state;
	open_retry(&clients[0]);
	ask(&clients[1], "GET", "history", "");
	ask(&clients[2], "GET", "accounting", "");
	ask(&clients[3], "GET", "accounting/set-aside", "");
	world_turns(&stage.world, 3);
	stage.api = management_api_free(stage.api);
	for (size_t i = 0; i < ARRAY_SIZE(clients); i++) {
		client_is_closed(&clients[i]);
		client_done(&clients[i]);
	}
	/* teardown() closes the store: it calls back for all of them. */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		TEST(test_nothing_there_is_an_empty_array),
		TEST(test_the_history_comes_in_pages),
		TEST(test_a_page_of_big_records_is_cut_short),
		TEST(test_the_state_of_accounting_has_its_backends),
		TEST(test_what_is_set_aside_is_tried_again),
		TEST(test_a_wrong_retry_says_what_is_right),
		TEST(test_a_disk_that_cannot_be_read_is_the_reason),
		TEST(test_a_retry_is_answered_when_it_is_on_disk),
		TEST(test_a_client_may_go_before_the_disk_answers),
		TEST(test_the_daemon_may_stop_before_the_disk_answers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
