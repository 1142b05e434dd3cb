#pragma once
/**
 * @file management/text.h  Management in lines of text (PROTOCOLS.md, section
 * 4)
 *
 * Commands `summary`, `sessions`, `version`, `quit` or `exit`, each ended by
 * CRLF, over TLS or plain TCP. Answers keep the order of the commands,
 * however late the daemon gives them. One loop, one thread.
 */
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "conf/conf.h"
#include "management/request.h"
#include "net/loop.h"
#include "net/tls.h"

struct management_text;

struct management_text_config {
	struct endpoint listen;
	struct tls_context *tls; /* of its own: read again here; NULL: plain */
	uint64_t verify_interval_us; /* 0: only when a client connects */
	enum conf_management_format format;
	unsigned max_connections;
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
	uint64_t refused; /* over the limit */
	uint64_t failed;  /* no usable TLS, or a certificate that is no good */
	uint64_t verifications_failed; /* while connected */
	uint64_t commands, commands_bad;
};

void management_text_count(const struct management_text *text,
			   struct management_text_counts *ret);
