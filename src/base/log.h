#pragma once
/**
 * @file base/log.h  Log lines, to standard error or to syslog
 *
 * Library code logs at debug only. Bytes that are not printable ASCII or valid
 * UTF-8 come out as \xNN, so that nobody's words can make a line of ours. Every
 * thread may log: a line is written at once. A pipe that nobody reads stops
 * nobody: lines that do not fit are lost, and the next one says how many. The
 * level and that count are the only mutable globals of the project.
 */
#include <stdbool.h>
#include <stdint.h>

enum log_level {
	LOG_LEVEL_DEBUG,
	LOG_LEVEL_INFO,
	LOG_LEVEL_WARNING,
	LOG_LEVEL_ERROR
};

/** Before log_open(): standard error at INFO. */
void log_open(const char *program, bool to_syslog);
void log_set_level(enum log_level level);
enum log_level log_get_level(void);
const char *log_level_name(enum log_level level);

void log_line(enum log_level level, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

#define log_debug(...)                                                         \
	do {                                                                   \
		if (log_get_level() <= LOG_LEVEL_DEBUG)                        \
			log_line(LOG_LEVEL_DEBUG, __VA_ARGS__);                \
	} while (0)
#define log_info(...) log_line(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_warning(...) log_line(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_error(...) log_line(LOG_LEVEL_ERROR, __VA_ARGS__)

/**
 * A limit for what repeats: a burst, then one line an interval; what was left
 * out is counted. One limiter for each kind of event, used by one thread.
 */
struct log_limit {
	uint64_t interval_us;
	uint32_t burst;
	uint32_t used;
	uint64_t window_us;
	uint64_t suppressed;
};

#define LOG_LIMIT(burst_, interval_us_)                                        \
	((struct log_limit){.interval_us = (interval_us_), .burst = (burst_)})

/**
 * May this line be written?
 *
 * @param ret_suppressed  How many were left out since the last allowed one
 */
bool log_limit_allows(struct log_limit *limit, uint64_t now_us,
		      uint64_t *ret_suppressed);

#define LOG_LEFT_OUT_SIZE 64

/** For the end of a limited line: " (7 such lines left out)", or "" for none.
 * @return text */
const char *log_left_out(uint64_t suppressed,
			 char text[static LOG_LEFT_OUT_SIZE]);
