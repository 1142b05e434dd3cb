#include "conf/conf.h"

#include <errno.h>
#include <ini.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "conf/schema.h"
#include "conf/value.h"

/* The longest line, with its line end. inih has a limit of 200 of its own, and
 * cuts in silence; Debian's can be told another one. */
#ifdef HAVE_INI_MAX_LINE
#define MAX_LINE 8192
#else
#define MAX_LINE 200
#endif
#define MAX_FILE_BYTES (1024 * 1024)

/* The text of one key, before it is looked at. */
struct raw_value {
	unsigned line; /* 0: not in the file */
	struct buf text;
};

/* What is known while inih goes through the file. */
struct reading {
	const char *name;
	enum conf_daemon daemon;
	struct span rest;
	unsigned line;
	bool continues; /* the line begins with a blank, below a key */
	bool has_key;   /* a key has stood in this section */
	char warned_section[64];
	struct raw_value values[CONF_MAX_KEYS];
	struct buf *warnings, *error;
	bool failed;
};

static void reading_done(struct reading *in)
{
	for (size_t i = 0; i < CONF_MAX_KEYS; i++)
		buf_done(&in->values[i].text);
}

static bool section_concerns(const char *name, enum conf_daemon daemon)
{
	const struct conf_section *section = conf_section_find(name);

	return section && (daemon == CONF_DAEMON_RELAY ? section->relay
						       : section->dispatcher);
}

/* The first error is the one that is told. */
__attribute__((format(printf, 2, 3))) static void fail(struct reading *in,
						       const char *format, ...)
{
	va_list args;

	if (in->failed)
		return;
	in->failed = true;
	buf_printf(in->error, "%s:%u: ", in->name, in->line);
	va_start(args, format);
	buf_vprintf(in->error, format, args);
	va_end(args);
}

__attribute__((format(printf, 3, 4))) static void
warn(struct reading *in, unsigned line, const char *format, ...)
{
	va_list args;

	buf_printf(in->warnings, "%s:%u: ", in->name, line);
	va_start(args, format);
	buf_vprintf(in->warnings, format, args);
	va_end(args);
	buf_char(in->warnings, '\n');
}

/*
 * Hand inih the next line. It is called once for each line, so this is where
 * lines are counted, and where those that inih would cut are refused.
 */
static char *next_line(char *to, int size, void *arg)
{
	struct reading *in = arg;
	struct span line;

	if (in->rest.len == 0)
		return NULL;
	if (!span_cut(&in->rest, '\n', &line)) {
		line = in->rest;
		in->rest.len = 0;
	}
	in->line++;
	if (in->line == 1 && span_starts_with(line, SPAN("\xef\xbb\xbf")))
		line = span_make(line.ptr + 3, line.len - 3);
	if (span_ends_with(line, SPAN("\r")))
		line.len--;

	to[0] = '\0';
	if (line.len > (size_t)size - 3 || line.len > MAX_LINE - 3) {
		fail(in, "a line of %zu bytes, %d is the most", line.len,
		     MAX_LINE - 3);
		return to;
	}
	if (line.len > 0 && memchr(line.ptr, '\0', line.len)) {
		fail(in, "a NUL byte");
		return to;
	}
	in->continues = in->has_key && line.len > 0 &&
			strchr(" \t\v\f\r", line.ptr[0]) != NULL;
	if (line.len > 0 && line.ptr[0] == '[')
		in->has_key = false;
	if (line.len > 0)
		memcpy(to, line.ptr, line.len);
	to[line.len] = '\0';
	return to;
}

static void unknown_key(struct reading *in, const char *section,
			const char *name)
{
	if (!conf_section_find(section)) {
		if (strcmp(section, in->warned_section) != 0)
			warn(in, in->line, "unknown section [%s]", section);
		snprintf(in->warned_section, sizeof(in->warned_section), "%s",
			 section);
	} else if (!in->continues && section_concerns(section, in->daemon)) {
		warn(in, in->line, "[%s] %s: unknown key", section, name);
	}
}

/* inih 55 leaves comments in the lines that continue a value. */
static struct span without_comment(struct span text)
{
	for (size_t i = 0; i < text.len; i++)
		if (text.ptr[i] == ';' &&
		    (i == 0 || strchr(" \t", text.ptr[i - 1])))
			return span_make(text.ptr, i);
	return text;
}

/* Collect the text of a key; values are looked at when the file is through. */
static int take_value(void *arg, const char *section, const char *name,
		      const char *text)
{
	struct reading *in = arg;
	const struct conf_key *key = conf_key_find(section, name);
	struct raw_value *value;

	if (section[0] == '\0') {
		fail(in, "%s stands before any [section]", name);
		return 1;
	}
	in->has_key = true;
	if (!key) {
		unknown_key(in, section, name);
		return 1;
	}
	value = &in->values[key - conf_keys];
	if (in->continues) {
		buf_char(&value->text, ' ');
		buf_add(&value->text, without_comment(span_of(text)));
		return 1;
	}
	if (value->line && section_concerns(section, in->daemon))
		warn(in, in->line,
		     "[%s] %s: stands in line %u already, this one counts",
		     section, key->name, value->line);
	value->line = in->line;
	buf_reset(&value->text);
	buf_add(&value->text, span_of(text));
	return 1;
}

static int read_lines(struct reading *in, struct span text)
{
	int bad_line;

	in->rest = text;
#ifdef HAVE_INI_MAX_LINE
	ini_use_stack = false;
	ini_allow_realloc = false;
	ini_initial_alloc = ini_max_line = MAX_LINE;
#endif
	bad_line = ini_parse_stream(next_line, in, take_value, in);
	if (bad_line < 0)
		return -ENOMEM;
	if (bad_line > 0) {
		in->line = (unsigned)bad_line;
		fail(in, "neither [section] nor key = value");
	}
	return in->failed ? -EINVAL : 0;
}

static int set_defaults(struct conf *conf)
{
	for (size_t i = 0; i < conf_key_count; i++)
		if (value_parse(&conf_keys[i], span_of(conf_keys[i].fallback),
				conf) < 0)
			return -EINVAL;
	return 0;
}

static void bad_value(struct reading *in, const struct conf_key *key,
		      const struct raw_value *value)
{
	CLEANUP(buf_done) struct buf said = {0};
	CLEANUP(buf_done) struct buf allowed = {0};

	value_print_quoted(key, buf_span(&value->text), &said);
	conf_key_allowed(key, &allowed);
	in->line = value->line;
	fail(in, "[%s] %s = %.*s: expected %.*s", key->section, key->name,
	     SPAN_ARG(buf_span(&said)), SPAN_ARG(buf_span(&allowed)));
}

/* The bad value that stands first in the file is the one that is told. */
static int set_values(struct reading *in, struct conf *conf)
{
	const struct conf_key *bad = NULL;

	for (size_t i = 0; i < conf_key_count; i++) {
		const struct raw_value *value = &in->values[i];

		if (buf_failed(&value->text))
			return -ENOMEM;
		if (value->line &&
		    value_parse(&conf_keys[i], buf_span(&value->text), conf) <
			    0 &&
		    (!bad || value->line < in->values[bad - conf_keys].line))
			bad = &conf_keys[i];
	}
	if (!bad)
		return 0;
	bad_value(in, bad, &in->values[bad - conf_keys]);
	return -EINVAL;
}

static unsigned line_of(const struct reading *in, const char *section,
			const char *name)
{
	return in->values[conf_key_find(section, name) - conf_keys].line;
}

/* What one value says about another. */
static int check_together(struct reading *in, const struct conf *conf)
{
	const struct conf_dispatcher *d = &conf->dispatcher;

	if (d->failover_timeout_us >= d->answer_timeout_us) {
		unsigned failover =
			line_of(in, "Dispatcher", "failover_timeout");

		in->line =
			failover ? failover
				 : line_of(in, "Dispatcher", "answer_timeout");
		fail(in,
		     "[Dispatcher] failover_timeout = %" PRIu64
		     "ms: expected less than answer_timeout (%" PRIu64 "ms)",
		     d->failover_timeout_us / 1000,
		     d->answer_timeout_us / 1000);
		return -EINVAL;
	}
	return 0;
}

static void warn_of_ignored(struct reading *in, const struct conf *conf)
{
	for (size_t i = 0; i < conf_key_count; i++) {
		const struct conf_key *key = &conf_keys[i];

		if (in->values[i].line && key->is_ignored &&
		    section_concerns(key->section, in->daemon))
			warn(in, in->values[i].line,
			     "[%s] %s: means nothing here and is ignored",
			     key->section, key->name);
	}
	if (in->daemon == CONF_DAEMON_RELAY &&
	    conf->relay.dispatchers.count == 0)
		buf_printf(in->warnings,
			   "%s: [Relay] dispatchers: there are none, so no "
			   "calls will come\n",
			   in->name);
}

static void conf_freep(struct conf **conf)
{
	*conf = conf_free(*conf);
}

static void reading_freep(struct reading **in)
{
	if (*in)
		reading_done(*in);
	free(*in);
}

int conf_parse(struct conf **ret, const char *name, struct span text,
	       enum conf_daemon daemon, struct buf *ret_warnings,
	       struct buf *ret_error)
{
	CLEANUP(conf_freep) struct conf *conf = calloc(1, sizeof(*conf));
	CLEANUP(reading_freep) struct reading *in = calloc(1, sizeof(*in));
	int r;

	if (!conf || !in)
		return -ENOMEM;
	in->name = name;
	in->daemon = daemon;
	in->warnings = ret_warnings;
	in->error = ret_error;

	if ((r = set_defaults(conf)) < 0 || (r = read_lines(in, text)) < 0 ||
	    (r = set_values(in, conf)) < 0 ||
	    (r = check_together(in, conf)) < 0)
		return r;
	warn_of_ignored(in, conf);
	*ret = TAKE_PTR(conf);
	return 0;
}

static void fclosep(FILE **file)
{
	if (*file)
		fclose(*file);
}

static int read_file(const char *path, struct buf *out)
{
	CLEANUP(fclosep) FILE *file = fopen(path, "re");
	char piece[4096];
	size_t len;

	if (!file)
		return -errno;
	while ((len = fread(piece, 1, sizeof(piece), file)) > 0) {
		buf_add(out, span_make(piece, len));
		if (out->len > MAX_FILE_BYTES)
			return -EFBIG;
	}
	if (ferror(file))
		return errno ? -errno : -EIO;
	return buf_failed(out) ? -ENOMEM : 0;
}

int conf_load(struct conf **ret, const char *path, enum conf_daemon daemon,
	      struct buf *ret_warnings, struct buf *ret_error)
{
	CLEANUP(buf_done) struct buf text = {0};
	int r = read_file(path, &text);

	if (r == -ENOENT) {
		buf_printf(ret_warnings,
			   "%s: there is no such file, so all keys have their "
			   "defaults\n",
			   path);
	} else if (r < 0) {
		buf_printf(ret_error, "%s: %s", path, strerror(-r));
		return r;
	}
	return conf_parse(ret, path, buf_span(&text), daemon, ret_warnings,
			  ret_error);
}

struct conf *conf_free(struct conf *conf)
{
	free(conf);
	return NULL;
}

void conf_print(const struct conf *conf, enum conf_daemon daemon,
		struct buf *out)
{
	for (size_t i = 0; i < conf_key_count; i++) {
		const struct conf_key *key = &conf_keys[i];

		if (!section_concerns(key->section, daemon) ||
		    key->type == KEY_UNUSED)
			continue;
		buf_printf(out, "%s.%s = ", key->section, key->name);
		value_print(key, conf, out);
		buf_char(out, '\n');
	}
}
