#pragma once
/**
 * @file proto/command.h  Requests: a command line, headers, an empty line
 *
 * The one text format between SIP proxy and dispatcher (socket form) and
 * between dispatcher and relay (link form, with a sequence number behind the
 * command). Lines come without their CRLF. A line that begins with a space or a
 * tab continues the header before it, joined by one space: a SIP header that a
 * phone folded must not become a header of ours. No I/O.
 */
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/span.h"

#define COMMAND_MAX_LINE 16384
#define COMMAND_MAX_HEADERS 64
#define COMMAND_MAX_BYTES 65536 /* of one request */

enum command_form { COMMAND_FORM_SOCKET, COMMAND_FORM_LINK };

struct command_header {
	struct span name, value;
};

/** A complete request. The spans point into the reader, until its next line. */
struct command {
	struct span name;
	uint64_t seq; /* link form only */
	size_t header_count;
	struct command_header headers[COMMAND_MAX_HEADERS];
};

enum command_status {
	COMMAND_MORE, /* the request is not complete yet */
	COMMAND_DONE, /* command_reader_command() has it */
	COMMAND_BAD   /* it is complete and wrong; command_reader_why() says why
		       */
};

struct command_reader;

/** @return 0 or -ENOMEM */
int command_reader_new(struct command_reader **ret, enum command_form form);
struct command_reader *command_reader_free(struct command_reader *reader);

/**
 * Take the next line. After DONE or BAD the next line begins a new request.
 *
 * A wrong request is read to its empty line, so that the connection stays in
 * step.
 *
 * @param too_long  The line was over COMMAND_MAX_LINE and is left out
 */
enum command_status command_reader_line(struct command_reader *reader,
					struct span line, bool too_long);

/** The complete request, after DONE. After BAD: what could be read of it (its
 * name and seq if the command line was good, and headers that came before the
 * fault), so that the log can name the call and the link can answer. */
const struct command *
command_reader_command(const struct command_reader *reader);

/** Between two requests? */
bool command_reader_idle(const struct command_reader *reader);

/** After BAD: the reason, for the log. Static text. */
const char *command_reader_why(const struct command_reader *reader);

/** The value of a header, or an empty span. */
struct span command_header(const struct command *command, const char *name);

/**
 * Write a request in the link form: headers in their order, then the empty
 * line.
 */
void command_encode(struct buf *out, struct span name, uint64_t seq,
		    const struct command_header *headers, size_t count);
