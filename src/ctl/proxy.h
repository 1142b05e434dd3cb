#pragma once
/**
 * @file ctl/proxy.h  Speaking to a dispatcher as a SIP proxy does
 *
 * Requests and replies of docs/protocols.md section 1, over the dispatcher's
 * UNIX socket. Blocking.
 */
#include <stdbool.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/buf.h"
#include "base/span.h"
#include "proto/update.h"

#define PROXY_MAX_REPLY 1024

/** What identifies a call, as text without CR and LF. */
struct proxy_call {
	const char *call_id, *from_tag, *to_tag, *from_uri, *to_uri;
};

/**
 * Write an update.
 *
 * @param is_reply  From the callee; else from the caller
 * @param ip        Of the party that sends it
 * @param media     The media header's value
 */
void proxy_write_update(struct buf *out, const struct proxy_call *call,
			bool is_reply, const char *ip, struct span media);
void proxy_write_remove(struct buf *out, const struct proxy_call *call);

enum proxy_reply_kind {
	PROXY_REPLY_PORTS,
	PROXY_REPLY_REMOVED,
	PROXY_REPLY_ERROR,
	PROXY_REPLY_NONE,
	PROXY_REPLY_STRANGE /* nothing that a dispatcher says */
};

struct proxy_reply {
	enum proxy_reply_kind kind;
	struct ip_addr ip; /* of the relay, with ports */
	size_t count;
	uint16_t ports[UPDATE_MAX_STREAMS]; /* 0: rejected */
};

/** Read a reply line, without its CRLF. */
void proxy_reply_decode(struct span line, struct proxy_reply *ret);

/** Connect. nonblocking: for the reads and writes that follow. @return 0 or
 * negative errno */
int proxy_connect(const char *path, bool nonblocking, int *ret_fd);

/**
 * Send a request and wait for its reply.
 *
 * @param reply       One line without its CRLF, NUL-terminated
 * @param ret_len     Its length
 * @return 0, -ETIMEDOUT, -ECONNRESET (closed without an answer), -EMSGSIZE or
 * negative errno
 */
int proxy_ask(int fd, struct span request, int timeout_ms,
	      char reply[static PROXY_MAX_REPLY], size_t *ret_len);
