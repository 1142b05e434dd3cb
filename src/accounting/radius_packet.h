#pragma once
/**
 * @file accounting/radius_packet.h  Accounting-Request and Accounting-Response
 * as bytes (RFC 2866, section 4)
 *
 * Why not by radcli's rc_send_server(): version 1.2.11, and its successors so
 * far, compute the authenticator of a response and then take the response
 * whatever came out, so that a record could count as delivered on a stranger's
 * word. It also leaves a socket open each time that sending fails.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "accounting/radius_attributes.h"
#include "base/span.h"

#define RADIUS_HEADER_SIZE 20
#define RADIUS_MAX_PACKET 4096

/** What an attribute is called on the wire. vendor 0: by its type alone. */
struct radius_code {
	uint32_t vendor;
	uint8_t type;
};

struct radius_request {
	size_t len;
	uint8_t bytes[RADIUS_MAX_PACKET];
};

/**
 * Build an Accounting-Request, signed with the secret.
 *
 * @param codes  One for each enum radius_name
 * @return 0, or what digest_md5() returns
 */
int radius_request_encode(struct radius_request *ret,
			  const struct radius_attributes *attributes,
			  const struct radius_code *codes, uint8_t id,
			  struct span secret);

enum radius_answer {
	RADIUS_ANSWER_STRAY,  /* no answer to this request: another id, or no
				 RADIUS at all */
	RADIUS_ANSWER_FORGED, /* its authenticator is not what the secret
				 gives */
	RADIUS_ANSWER_OTHER,  /* genuine, but no Accounting-Response */
	RADIUS_ANSWER_TAKEN
};

/** Judge a datagram that came while this request waits for its answer. */
enum radius_answer radius_response_judge(const struct radius_request *request,
					 struct span datagram,
					 struct span secret);
