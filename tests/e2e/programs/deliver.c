/**
 * deliver NAME CONFIG_DIR STATE_DIR: one backend of accounting by itself
 *
 * Reads records from standard input, one JSON object a line, and gives them to
 * the backend in batches: an empty line ends one, and so does the backend's
 * limit. Writes a line for each record: `done`, `later` or `refused REASON`;
 * and `down REASON` after a batch that failed. `interim JSON` as a line reports
 * a call that is up. When the backend does not start: its reason, exit 1.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "accounting/backends.h"
#include "base/cleanup.h"

#define MAX_BATCH 1024

struct taker {
	const struct backend *backend;
	void *state;
	size_t count;
	struct delivery batch[MAX_BATCH];
};

static void take(const struct record *record, void *arg)
{
	if (record_dup(arg, record) < 0)
		exit(2);
}

static void flush(struct taker *taker)
{
	static const char *const words[] = {"later", "done", "refused"};
	CLEANUP(buf_done) struct buf why = {0};
	int err;

	if (taker->count == 0)
		return;
	err = taker->backend->deliver(taker->state, taker->batch, taker->count,
				      &why);
	for (size_t i = 0; i < taker->count; i++) {
		const struct delivery *delivery = &taker->batch[i];

		printf("%s%s%s\n", words[delivery->outcome],
		       delivery->outcome == DELIVERY_REFUSED ? " " : "",
		       delivery->reason);
		record_done(&taker->batch[i].record);
	}
	if (err < 0)
		printf("down %s\n", why.data ? why.data : "without a reason");
	fflush(stdout);
	taker->count = 0;
}

static void report(struct taker *taker, struct span json)
{
	CLEANUP(buf_done) struct buf why = {0};
	struct record record = {0};
	int err = -1;

	if (taker->backend->interim &&
	    record_decode(json, take, &record) == 0) {
		err = taker->backend->interim(taker->state, &record, &why);
		record_done(&record);
	}
	printf("%s %s\n", err < 0 ? "down" : "done", why.data ? why.data : "");
	fflush(stdout);
}

static void add(struct taker *taker, struct span line)
{
	struct delivery *delivery = &taker->batch[taker->count];

	*delivery = (struct delivery){0};
	if (record_decode(line, take, &delivery->record) < 0) {
		fprintf(stderr, "deliver: no record: %.*s\n", SPAN_ARG(line));
		exit(2);
	}
	taker->count++;
	if (taker->count == taker->backend->batch || taker->count == MAX_BATCH)
		flush(taker);
}

static void serve(struct taker *taker)
{
	CLEANUP(freep) char *line = NULL;
	size_t size = 0;
	ssize_t len;

	while ((len = getline(&line, &size, stdin)) > 0) {
		struct span text = span_make(line, (size_t)len - 1);

		if (text.len == 0)
			flush(taker);
		else if (span_starts_with(text, SPAN("interim ")))
			report(taker, span_make(line + 8, text.len - 8));
		else
			add(taker, text);
	}
	flush(taker);
}

int main(int argc, char **argv)
{
	CLEANUP(buf_done) struct buf warnings = {0};
	CLEANUP(buf_done) struct buf why = {0};
	struct taker *taker = calloc(1, sizeof(*taker));
	struct backend_config config = {0};
	struct conf *conf = NULL;
	char path[4096];
	int status = 1;

	if (argc != 4 || !taker)
		return 2;
	taker->backend = backend_find(span_of(argv[1]));
	if (!taker->backend)
		return 2;
	config.config_dir = argv[2];
	config.state_dir = argv[3];
	snprintf(path, sizeof(path), "%s/config.ini", argv[2]);
	if (conf_load(&conf, path, CONF_DAEMON_DISPATCHER, &warnings, &why) ==
	    0) {
		config.conf = conf;
		if (taker->backend->start(&taker->state, &config, &why) == 0) {
			serve(taker);
			taker->backend->stop(taker->state);
			status = 0;
		}
	}
	if (status != 0)
		printf("%s\n", why.data ? why.data : "without a reason");
	conf_free(conf);
	free(taker);
	return status;
}
