#pragma once
/**
 * @file management/text.h  Management in lines of text (docs/protocols.md,
 * section 4)
 *
 * Commands `summary`, `sessions`, `version`, `quit` or `exit`, each ended by
 * CRLF, over TLS or plain TCP. Answers keep the order of the commands,
 * however late the daemon gives them. One loop, one thread.
 *
 * Strangers keep no client out: a connection without a certificate, or without
 * TLS one without a command, does not count towards max_connections. There are
 * few of them at one time, few from one address, and the oldest gives way.
 */
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "conf/conf.h"
#include "management/request.h"
#include "net/loop.h"
#include "net/tls.h"

/** How many connections may be open beside max_connections. */
#define MANAGEMENT_TEXT_MAX_NEWCOMERS 64

struct management_text;

struct management_text_config {
	struct endpoint listen;
	struct tls_context *tls; /* of its own: read again here; NULL: plain */
	uint64_t verify_interval_us; /* 0: only when a client connects */
	enum conf_management_format format;
	unsigned max_connections;
	/* For plain clients; 0: a minute. */
	uint64_t newcomer_us; /* until the first command */
	uint64_t idle_us; /* since the last one: it may give way to another */
};

/**
 * Listen for clients. The handlers are copied.
 *
 * @return 0, -ENOMEM, or the listener's error
 */
int management_text_new(struct management_text **ret, struct loop *loop,
			const struct management_text_config *config,
			const struct management_handlers *handlers, void *arg);

/** Close all connections; open requests are still to be finished by those who
 * have them, and lead nowhere. NULL is fine. @return NULL */
struct management_text *management_text_free(struct management_text *text);

/** Where it listens. */
struct endpoint management_text_address(const struct management_text *text);

struct management_text_counts {
	size_t connections; /* now */
	uint64_t accepted;
	uint64_t refused; /* over a limit: at once, or giving way */
	uint64_t failed;  /* no usable TLS, or a certificate that is no good */
	uint64_t verifications_failed; /* while connected */
	uint64_t commands, commands_bad;
};

void management_text_count(const struct management_text *text,
			   struct management_text_counts *ret);
