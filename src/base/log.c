#include "base/log.h"

#include <poll.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/utf8.h"

/* Written on start and by SIGUSR1 alone, read by every thread. */
static atomic_int level_now = LOG_LEVEL_INFO;
static bool use_syslog;
/* By every thread; told by the next line that can be written. */
static atomic_uint lines_lost;

void log_open(const char *program, bool to_syslog)
{
	use_syslog = to_syslog;
	if (to_syslog)
		openlog(program, LOG_PID, LOG_DAEMON);
}

void log_set_level(enum log_level level)
{
	atomic_store_explicit(&level_now, (int)level, memory_order_relaxed);
}

enum log_level log_get_level(void)
{
	return (enum log_level)atomic_load_explicit(&level_now,
						    memory_order_relaxed);
}

const char *log_level_name(enum log_level level)
{
	static const char *const names[] = {"DEBUG", "INFO", "WARNING",
					    "ERROR"};

	return names[level];
}

/* How many bytes at the front are printable ASCII: nearly always all. */
static size_t plain_len(struct span s)
{
	size_t len = 0;

	while (len < s.len && s.ptr[len] >= 0x20 && s.ptr[len] < 0x7f)
		len++;
	return len;
}

static void add_escaped(struct buf *out, struct span raw)
{
	size_t at = 0;

	while (at < raw.len) {
		struct span rest = span_make(raw.ptr + at, raw.len - at);
		size_t plain = plain_len(rest);
		uint32_t code;
		size_t len;

		if (plain > 0) {
			buf_add(out, span_make(rest.ptr, plain));
			at += plain;
			continue;
		}
		len = utf8_decode(rest, &code);
		/* C0 and C1 controls, and the line separators of Unicode */
		if (len == 0 || code < 0x20 || (code >= 0x7f && code < 0xa0) ||
		    code == 0x2028 || code == 0x2029) {
			len = len ? len : 1;
			for (size_t i = 0; i < len; i++)
				buf_printf(out, "\\x%02x",
					   (uint8_t)rest.ptr[i]);
		} else {
			buf_add(out, span_make(rest.ptr, len));
		}
		at += len;
	}
}

static int syslog_priority(enum log_level level)
{
	static const int priorities[] = {LOG_DEBUG, LOG_INFO, LOG_WARNING,
					 LOG_ERR};

	return priorities[level];
}

static void add_time(struct buf *out)
{
	struct timespec now;
	struct tm local;
	char text[32];

	clock_gettime(CLOCK_REALTIME, &now);
	localtime_r(&now.tv_sec, &local);
	strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S", &local);
	buf_printf(out, "%s.%03ld ", text, now.tv_nsec / 1000000);
}

/* Nobody may read the pipe that we log to: a line is lost then rather than a
 * call. */
static bool is_writable(void)
{
	struct pollfd stderr_fd = {.fd = STDERR_FILENO, .events = POLLOUT};

	return poll(&stderr_fd, 1, /* ms= */ 0) != 0;
}

static void add_lost(struct buf *line)
{
	unsigned lost;

	if (atomic_load_explicit(&lines_lost, memory_order_relaxed) == 0 ||
	    !is_writable())
		return;
	lost = atomic_exchange_explicit(&lines_lost, 0, memory_order_relaxed);
	buf_printf(line, "(%u lines before this one could not be written) ",
		   lost);
}

void log_line(enum log_level level, const char *format, ...)
{
	CLEANUP(buf_done) struct buf raw = {0};
	CLEANUP(buf_done) struct buf line = {0};
	va_list args;

	if (level < log_get_level())
		return;
	va_start(args, format);
	buf_vprintf(&raw, format, args);
	va_end(args);

	if (!use_syslog) {
		add_time(&line);
		add_lost(&line);
	}
	buf_printf(&line, "%s ", log_level_name(level));
	add_escaped(&line, buf_span(&raw));
	if (buf_failed(&raw) || buf_failed(&line))
		return;
	if (use_syslog) {
		syslog(syslog_priority(level), "%s", line.data);
		return;
	}
	buf_char(&line, '\n');
	if (!is_writable()) {
		atomic_fetch_add_explicit(&lines_lost, 1, memory_order_relaxed);
		return;
	}
	/* One write, so that lines of threads do not mix. A log that cannot be
	 * written has nobody to be told to. */
	if (write(STDERR_FILENO, line.data, line.len) < 0)
		return;
}

bool log_limit_allows(struct log_limit *limit, uint64_t now_us,
		      uint64_t *ret_suppressed)
{
	*ret_suppressed = 0;
	if (now_us - limit->window_us >= limit->interval_us) {
		limit->window_us = now_us;
		limit->used = 0;
		*ret_suppressed = limit->suppressed;
		limit->suppressed = 0;
	}
	if (limit->used >= limit->burst) {
		limit->suppressed++;
		return false;
	}
	limit->used++;
	return true;
}

const char *log_left_out(uint64_t suppressed,
			 char text[static LOG_LEFT_OUT_SIZE])
{
	text[0] = '\0';
	if (suppressed > 0)
		snprintf(text, LOG_LEFT_OUT_SIZE, " (%llu such lines left out)",
			 (unsigned long long)suppressed);
	return text;
}
