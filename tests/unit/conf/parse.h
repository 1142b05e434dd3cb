#pragma once
/** @file tests/unit/conf/parse.h  A configuration from text, with all that came
 * of it */
#include <string.h>

#include "conf/conf.h"
#include "test.h"

struct parsed {
	struct conf *conf;
	int result;
	struct buf warnings, error;
};

static inline struct parsed parse_span(struct span text,
				       enum conf_daemon daemon)
{
	struct parsed p = {0};

	p.result = conf_parse(&p.conf, "config.ini", text, daemon, &p.warnings,
			      &p.error);
	return p;
}

static inline struct parsed parse_as(const char *text, enum conf_daemon daemon)
{
	return parse_span(span_of(text), daemon);
}

static inline struct parsed parse(const char *text)
{
	return parse_as(text, CONF_DAEMON_DISPATCHER);
}

static inline void parsed_done(struct parsed *p)
{
	conf_free(p->conf);
	buf_done(&p->warnings);
	buf_done(&p->error);
}

#define PARSED CLEANUP(parsed_done) struct parsed

static inline const char *text_of(const struct buf *buf)
{
	return buf->data ? buf->data : "";
}

static inline void assert_good(const struct parsed *p)
{
	assert_string_equal(text_of(&p->error), "");
	assert_int_equal(p->result, 0);
	assert_non_null(p->conf);
}

/* One line, and nothing but this line. */
static inline void assert_error(const char *text, const char *error)
{
	PARSED p = parse(text);

	assert_string_equal(text_of(&p.error), error);
	assert_int_equal(p.result, -EINVAL);
	assert_null(p.conf);
}
