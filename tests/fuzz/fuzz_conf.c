/**
 * @file tests/fuzz/fuzz_conf.c  config.ini: read, or refused with a reason
 */
#include <stdint.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "conf/conf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	CLEANUP(buf_done) struct buf warnings = {0};
	CLEANUP(buf_done) struct buf error = {0};
	CLEANUP(buf_done) struct buf out = {0};
	struct conf *conf = NULL;
	int r;

	if (size == 0)
		return 0;
	r = conf_parse(&conf, "fuzz", span_make(data + 1, size - 1),
		       data[0] & 1 ? CONF_DAEMON_RELAY : CONF_DAEMON_DISPATCHER,
		       &warnings, &error);
	/* A refusal has its reason, in one line; a success has none. */
	if ((r == 0) != (conf != NULL) || (r == 0) != (error.len == 0))
		abort();
	if (error.len && memchr(error.data, '\n', error.len))
		abort();
	if (conf) {
		conf_print(conf, CONF_DAEMON_RELAY, &out);
		conf_print(conf, CONF_DAEMON_DISPATCHER, &out);
		if (conf->relay.port_range.first >= conf->relay.port_range.end)
			abort();
	}
	conf_free(conf);
	return 0;
}
