/*
 * Accounting to RADIUS: an Accounting-Request for each record
 *
 * At least once: a record that was sent and not answered is sent again, with
 * the same Acct-Session-Id. A server does not answer what it cannot store
 * either (RFC 2866, section 4.1), such as a Call-ID that is too long for its
 * database, so that silence may be about one record: it is refused when the
 * next one was answered right after it, several times. Records without an
 * answer (start_time null) are sent as well, as the original does; their
 * Acct-Session-Time is 0.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "accounting/backend.h"
#include "accounting/radius_exchange.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"

#define OTHERS_ANSWERED 3 /* times, until a record is the reason of silence */

struct radius {
	struct radius_config config;
	size_t answered_last; /* the server that is tried first */
	uint8_t next_id;
	/* The record that met silence last, and how often the next one did not.
	 */
	char silent_id[128];
	unsigned others_answered;
};

static void resolve(struct buf *out, const char *folder, const char *path)
{
	if (path[0] != '/')
		buf_printf(out, "%s/", folder);
	buf_printf(out, "%s", path);
}

static void log_lines(struct span lines)
{
	struct span line;

	while (span_cut(&lines, '\n', &line))
		log_warning("RADIUS: %.*s", SPAN_ARG(line));
}

static void radius_stop(void *state)
{
	explicit_bzero(state, sizeof(struct radius));
	free(state);
}

static int load(struct radius *radius, const struct backend_config *config,
		struct buf *ret_why)
{
	const struct conf_radius *keys = &config->conf->radius;
	CLEANUP(buf_done) struct buf path = {0};
	CLEANUP(buf_done) struct buf dictionary = {0};
	CLEANUP(buf_done) struct buf warnings = {0};
	int err;

	resolve(&path, config->config_dir, keys->config_file);
	if (keys->additional_dictionary[0])
		resolve(&dictionary, config->config_dir,
			keys->additional_dictionary);
	if (buf_failed(&path) || buf_failed(&dictionary))
		return -ENOMEM;
	err = radius_config_load(&radius->config, path.data, dictionary.data,
				 ret_why, &warnings);
	if (err == 0 && !buf_failed(&warnings))
		log_lines(buf_span(&warnings));
	return err;
}

static int radius_start(void **ret_state, const struct backend_config *config,
			struct buf *ret_why)
{
	const struct radius_attributes nothing = {0};
	struct radius *radius = calloc(1, sizeof(*radius));
	struct radius_request request;
	int err;

	if (!radius)
		return -ENOMEM;
	err = load(radius, config, ret_why);
	if (err == 0 &&
	    radius_request_encode(&request, &nothing, radius->config.codes, 0,
				  (struct span){0}) < 0) {
		buf_printf(ret_why, "RADIUS is signed with MD5, and OpenSSL "
				    "has none here: end its FIPS mode, or "
				    "take radius out of `accounting`");
		err = -EINVAL;
	}
	if (err < 0) {
		radius_stop(radius);
		return err;
	}
	/* So that two runs do not begin with the same identifier. */
	radius->next_id = (uint8_t)clock_wall_us();
	*ret_state = radius;
	return 0;
}

static const char *what_happened(int err)
{
	switch (err) {
	case -ETIMEDOUT:
		return "no answer";
	case -EBADMSG:
		return "its answer is not signed with our secret";
	case -EPROTO:
		return "its answer is no Accounting-Response";
	case -EHOSTUNREACH:
		return "no such host, or no way to it";
	case -ECONNREFUSED:
		return "nobody listens there";
	default:
		return strerror(-err);
	}
}

static void add_failure(const struct radius_server *server, int err,
			struct buf *why)
{
	buf_printf(why, why->len > 0 ? "; " : "RADIUS: ");
	buf_printf(why, strchr(server->host, ':') ? "[%s]:%u: %s" : "%s:%u: %s",
		   server->host, server->port, what_happened(err));
}

/* A server answers nobody whose secret is another than its own, so silence may
 * be that as well. */
static void add_advice(const struct radius_config *config, int err,
		       struct buf *why)
{
	if (err == -ETIMEDOUT)
		buf_printf(why,
			   " (%u tries of %u s each); if it is up, the shared "
			   "secret may be wrong, or it does not know this host",
			   config->retries + 1, config->timeout_s);
	else if (err == -EBADMSG)
		buf_printf(why, "; the shared secret may be wrong");
}

/* Ask the servers in turn, beginning with the one that answered last. Silence
 * of one weighs more than what is wrong with another. */
static int ask(struct radius *radius,
	       const struct radius_attributes *attributes, struct buf *why)
{
	const struct radius_config *config = &radius->config;
	size_t first = radius->answered_last;
	struct radius_request request;
	int worst = 0;

	for (size_t i = 0; i < config->server_count; i++) {
		size_t index = (first + i) % config->server_count;
		const struct radius_server *server = &config->servers[index];
		int err = radius_request_encode(
			&request, attributes, config->codes, radius->next_id++,
			span_of(server->secret));

		if (err == 0)
			err = radius_exchange(config, server, &request);
		if (err == 0) {
			radius->answered_last = index;
			return 0;
		}
		add_failure(server, err, why);
		if (worst != -ETIMEDOUT)
			worst = err;
	}
	add_advice(config, worst, why);
	return worst;
}

/* Failures that were made good by another server are nobody's news. */
static int send_attributes(struct radius *radius,
			   const struct radius_attributes *attributes,
			   struct buf *ret_why)
{
	CLEANUP(buf_done) struct buf why = {0};
	int err = ask(radius, attributes, &why);

	if (err < 0)
		buf_add(ret_why, buf_span(&why));
	else if (why.len > 0)
		log_debug("%s; another server took it", why.data);
	return err;
}

static void refuse(struct delivery *delivery, const char *reason)
{
	delivery->outcome = DELIVERY_REFUSED;
	(void)snprintf(delivery->reason, sizeof(delivery->reason), "%s",
		       reason);
}

/* @return 0 if its outcome is known now, or negative errno: it is down */
static int deliver_one(struct radius *radius, struct delivery *delivery,
		       struct buf *ret_why)
{
	struct radius_attributes attributes;
	int err = radius_attributes_of(&attributes, delivery->record.json);

	if (err == -EBADMSG) {
		refuse(delivery, "the record is no JSON object");
		return 0;
	}
	if (err < 0) {
		buf_printf(ret_why, "RADIUS: out of memory");
		return err;
	}
	err = send_attributes(radius, &attributes, ret_why);
	if (err == 0)
		delivery->outcome = DELIVERY_DONE;
	return err;
}

/* Nobody answered the first of these: is that about it, and not about the
 * servers? The next one is sent to see, if it was the same before. */
static bool is_about_it(struct radius *radius, struct delivery *batch,
			size_t count)
{
	CLEANUP(buf_done) struct buf why = {0};
	char id[sizeof(radius->silent_id)];

	(void)snprintf(id, sizeof(id), "%.*s",
		       SPAN_ARG(batch[0].record.record_id));
	if (strcmp(id, radius->silent_id) != 0) {
		memcpy(radius->silent_id, id, sizeof(id));
		radius->others_answered = 0;
		return false;
	}
	if (count < 2 || deliver_one(radius, &batch[1], &why) < 0)
		return false;
	radius->others_answered += batch[1].outcome == DELIVERY_DONE;
	return radius->others_answered >= OTHERS_ANSWERED;
}

static int radius_deliver(void *state, struct delivery *batch, size_t count,
			  struct buf *ret_why)
{
	for (size_t i = 0; i < count; i++) {
		CLEANUP(buf_done) struct buf why = {0};
		int err = 0;

		if (batch[i].outcome == DELIVERY_LATER)
			err = deliver_one(state, &batch[i], &why);
		if (err == -ETIMEDOUT &&
		    is_about_it(state, &batch[i], count - i)) {
			refuse(&batch[i], "the RADIUS server answers other "
					  "records, and not this one: its log "
					  "may say why");
			err = 0;
		}
		if (err < 0) {
			buf_add(ret_why, buf_span(&why));
			return err;
		}
	}
	return 0;
}

static int radius_interim(void *state, const struct record *record,
			  struct buf *ret_why)
{
	struct radius_attributes attributes;
	int err = radius_attributes_of(&attributes, record->json);

	if (err < 0) {
		buf_printf(ret_why, "RADIUS: %s",
			   err == -EBADMSG ? "the call is no JSON object"
					   : "out of memory");
		return err;
	}
	return send_attributes(state, &attributes, ret_why);
}

const struct backend radius_backend = {
	.name = "radius",
	.section = "Radius",
	.batch = 32,
	.start = radius_start,
	.deliver = radius_deliver,
	.interim = radius_interim,
	.stop = radius_stop,
};
