#include "scene.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../store/disk.h"
#include "base/clock.h"
#include "test.h"

#define LIMIT_US (20 * US_PER_S)
#define LOOK_US (2 * US_PER_MS)

static void limit_reached(void *arg)
{
	(void)arg;
	fail_msg("not so in time");
}

static void look(void *arg)
{
	struct scene *scene = arg;

	if (scene->fact(scene->fact_arg))
		loop_stop(scene->loop);
}

static void open_store(struct scene *scene)
{
	const struct store_config config = {.loop = scene->loop,
					    .path = scene->path,
					    .max_waiting = SCENE_MAX_WAITING};
	struct buf why = {0};

	assert_int_equal(store_open(&scene->store, &config, &why), 0);
	assert_int_equal(spool_open(store_db(scene->store)), SQLITE_OK);
	buf_done(&why);
}

void scene_init(struct scene *scene)
{
	memset(scene, 0, sizeof(*scene));
	strcpy(scene->folder, "/tmp/mediaproxy-test.XXXXXX");
	assert_non_null(mkdtemp(scene->folder));
	snprintf(scene->path, sizeof(scene->path), "%s/store.db",
		 scene->folder);
	disk_install();
	assert_int_equal(loop_new(&scene->loop), 0);
	assert_int_equal(
		timer_new(&scene->limit, scene->loop, limit_reached, scene), 0);
	assert_int_equal(timer_new(&scene->look, scene->loop, look, scene), 0);
	open_store(scene);
}

void scene_start(struct scene *scene)
{
	assert_int_equal(store_start(scene->store), 0);
}

void scene_restart(struct scene *scene)
{
	store_free(scene->store, US_PER_S);
	open_store(scene);
}

void scene_done(struct scene *scene)
{
	char command[128];

	store_free(scene->store, US_PER_S);
	timer_free(scene->limit);
	timer_free(scene->look);
	loop_free(scene->loop);
	disk_uninstall();
	snprintf(command, sizeof(command), "rm -rf %s", scene->folder);
	assert_int_equal(system(command), 0);
}

void scene_until(struct scene *scene, bool (*fact)(void *arg), void *arg)
{
	scene->fact = fact;
	scene->fact_arg = arg;
	if (fact(arg))
		return;
	timer_start(scene->limit, LIMIT_US);
	timer_start_every(scene->look, LOOK_US);
	assert_int_equal(loop_run(scene->loop), 0);
	timer_stop(scene->look);
	timer_stop(scene->limit);
}

static void stop_loop(void *arg)
{
	loop_stop(arg);
}

void scene_run(struct scene *scene, uint64_t us)
{
	struct timer *timer;

	assert_int_equal(timer_new(&timer, scene->loop, stop_loop, scene->loop),
			 0);
	timer_start(timer, us);
	assert_int_equal(loop_run(scene->loop), 0);
	timer_free(timer);
}

const char *record_json(char *to, size_t size, const char *call_id,
			const char *record_id)
{
	snprintf(
		to, size,
		"{\"call_id\": \"%s\", \"from_tag\": \"f\", \"to_tag\": \"t\", "
		"\"start_time\": 1.5, \"streams\": [], \"record_id\": \"%s\"}",
		call_id, record_id);
	return to;
}

struct record record_make(const char *call_id, const char *record_id,
			  const char *json)
{
	return (struct record){
		.record_id = span_of(record_id),
		.call_id = span_of(call_id),
		.from_tag = SPAN("f"),
		.to_tag = SPAN("t"),
		.has_start_time = true,
		.json = span_of(json),
	};
}

void scene_fill(struct scene *scene, int first, int last)
{
	struct store_db *db = store_db(scene->store);
	char call_id[16], id[16], json[256];

	assert_int_equal(store_exec(db, "BEGIN"), SQLITE_OK);
	for (int i = first; i <= last; i++) {
		struct record record;
		int64_t seq;

		snprintf(call_id, sizeof(call_id), "c%d", i);
		snprintf(id, sizeof(id), "r%d", i);
		record = record_make(
			call_id, id,
			record_json(json, sizeof(json), call_id, id));
		assert_int_equal(spool_add(db, &record, i, &seq), SQLITE_OK);
		assert_true(seq > 0);
	}
	assert_int_equal(store_exec(db, "COMMIT"), SQLITE_OK);
}
