#pragma once
/**
 * @file conf/schema.h  The table of all keys of config.ini
 *
 * For the files of this folder: parser, defaults, checks, conf_print() and the
 * reference all come from this one table.
 */
#include <stddef.h>
#include <stdint.h>

#include "conf/conf.h"

enum key_type {
	KEY_UNUSED, /* any text; nothing is stored */
	KEY_BOOL,
	KEY_NUMBER,         /* unsigned */
	KEY_DURATION,       /* uint64_t, microseconds */
	KEY_TEXT,           /* char[] */
	KEY_IDENTIFIER,     /* char[]: a name of SQL */
	KEY_DATABASE,       /* char[]: holds a password, never shown */
	KEY_ACCOUNTING,     /* char[] */
	KEY_SECURITY_LEVEL, /* int */
	KEY_ADDRESSES,      /* struct conf_address_list */
	KEY_LOCALS,         /* the same, each with what is advertised */
	KEY_TOS,            /* unsigned, or CONF_TOS_KEEP */
	KEY_LISTEN,         /* struct endpoint */
	KEY_HOSTS,          /* struct conf_host_list */
	KEY_NETWORKS,       /* struct conf_network_list */
	KEY_PORT_RANGE,     /* struct conf_port_range */
	KEY_PASSPORT,       /* struct passport */
	KEY_LOG_LEVEL,      /* enum log_level */
	KEY_CHOICE          /* an enum whose values are indexes of choices */
};

struct conf_key {
	const char *section, *name;
	enum key_type type;
	size_t offset, size;  /* of the member of struct conf */
	bool is_ignored;      /* of the original; means nothing here */
	const char *fallback; /* the default, as one would write it */
	uint64_t min, max;    /* numbers and durations (microseconds) */
	const char *const *choices;
	const char *allowed; /* for people; NULL: follows from the type */
	const char *doc;     /* one sentence */
};

struct conf_section {
	const char *name;
	bool relay, dispatcher; /* which daemon uses it */
	const char *doc;
};

extern const struct conf_key conf_keys[];
extern const size_t conf_key_count;
extern const struct conf_section conf_sections[];
extern const size_t conf_section_count;

/** How many keys fit in an array that is made for all. */
#define CONF_MAX_KEYS 112

/** @return NULL if there is no such section */
const struct conf_section *conf_section_find(const char *name);

/** Keys are found whatever their case, as the original does.
 * @return NULL if the section has no such key */
const struct conf_key *conf_key_find(const char *section, const char *name);

/** What a key takes, for people. */
void conf_key_allowed(const struct conf_key *key, struct buf *out);
