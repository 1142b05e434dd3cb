#include <errno.h>
#include <jansson.h>
#include <string.h>

#include "base/log.h"
#include "relay/relay.h"

#define MODES (FORWARDING_USERSPACE + 1)

static void write_interfaces(const struct relay *relay, struct json_writer *w)
{
	struct media_interface_status s;

	json_array_begin(w, "interfaces");
	for (unsigned i = 0; media_interface_status(relay->media, i, &s); i++) {
		json_object_begin(w, NULL);
		json_text(w, "name", s.name);
		json_text(w, "engine", s.engine);
		json_text(w, "reason", s.reason);
		json_object_end(w);
	}
	json_array_end(w);
}

static void write_status(const struct relay *relay,
			 const struct media_engine_status *s,
			 const char *reason_key, struct json_writer *w)
{
	json_text(w, "engine", s->name);
	json_text(w, reason_key, s->reason);
	write_interfaces(relay, w);
	json_u64(w, "flows", s->flows);
	json_u64(w, "destinations", s->destinations);
	json_u64(w, "hops", s->hops);
	json_u64(w, "hops_full", s->hops_full);
	json_u64(w, "lookup_errors", s->lookup_errors);
	json_u64(w, "neighbours_refused", s->neighbours_refused);
	json_u64(w, "netlink_resyncs", s->netlink_resyncs);
	json_object_begin(w, "kernel");
	for (size_t i = 0; i < s->stat_count; i++)
		json_u64(w, s->stats[i].name, s->stats[i].value);
	json_object_end(w);
}

void relay_write_engine(const struct relay *relay, const char *reason_key,
			struct json_writer *w)
{
	struct media_engine_status s;

	media_engine_status(relay->media, &s);
	write_status(relay, &s, reason_key, w);
}

/* The engine's thread does what it is asked a moment later. Where there is no
 * engine, nothing has to be done. */
static bool is_applied(const struct relay *relay,
		       const struct media_engine_status *s)
{
	return s->stat_count == 0 || s->forwarding == relay->forwarding;
}

void relay_api_forwarding(struct management_request *request, void *arg)
{
	const struct relay *relay = arg;
	struct json_writer *w = management_request_item(request);
	struct media_engine_status s;

	media_engine_status(relay->media, &s);
	json_object_begin(w, NULL);
	json_text(w, "forwarding", media_forwarding_name(relay->forwarding));
	json_bool(w, "applied", is_applied(relay, &s));
	write_status(relay, &s, "reason", w);
	json_object_end(w);
	management_request_finish(request);
}

/* @return false if it is not {"forwarding": one of ours} */
static bool decode_mode(struct span json, enum media_forwarding *ret)
{
	json_t *object = json_loadb(json.len > 0 ? json.ptr : "", json.len,
				    JSON_REJECT_DUPLICATES, NULL);
	const char *name =
		json_string_value(json_object_get(object, "forwarding"));
	int mode = 0;

	while (name && mode < MODES &&
	       strcmp(name,
		      media_forwarding_name((enum media_forwarding)mode)) != 0)
		mode++;
	if (name && mode < MODES)
		*ret = (enum media_forwarding)mode;
	json_decref(object);
	return name && mode < MODES;
}

int relay_api_set_forwarding(struct span json, struct buf *ret_why, void *arg)
{
	struct relay *relay = arg;
	struct media_engine_status status;
	enum media_forwarding mode;
	int r;

	if (!decode_mode(json, &mode)) {
		buf_add(ret_why,
			SPAN("{\"forwarding\": ...} is needed, with \"auto\", "
			     "\"xdp\", \"tc\" or \"userspace\""));
		return -EINVAL;
	}
	r = media_set_forwarding(relay->media, mode);
	if (r < 0) {
		media_engine_status(relay->media, &status);
		log_warning("forwarding = %s, asked for on the control "
			    "channel, cannot be had: %s",
			    media_forwarding_name(mode), status.reason);
		buf_add(ret_why, span_of(status.reason));
		/* -EINVAL would be the client's fault. */
		return r == -EINVAL ? -EIO : r;
	}
	relay->forwarding = mode;
	log_info("forwarding = %s, asked for on the control channel",
		 media_forwarding_name(mode));
	return 0;
}
