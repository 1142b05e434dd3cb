#include "media/stream.h"

#include <errno.h>

#include "base/clock.h"
#include "media/internal.h"

/* ---- worker ---- */

void media_port_show_remote(struct port *c)
{
	struct shown_remote shown = {
		.endpoint = c->learning.remote,
		.rule = c->learning.rule,
		.sdp_version = c->stream->settings.sdp_version[c->party],
	};

	c->shows_remote = ip_is_set(&shown.endpoint.ip);
	latch_store(&c->shown.remote, c->shown.remote_words, &shown,
		    sizeof(shown));
	flow_review(c->stream->worker, c);
	flow_review(c->stream->worker, media_port_other(c));
}

static void drop_held(struct port *c)
{
	struct worker *w = c->stream->worker;
	unsigned dropped = held_clear(&c->held, &w->held);

	if (dropped > 0)
		worker_count_drop(w, c, DROP_NOT_PROVED, dropped);
}

static void take_sdp(struct port *c, const struct endpoint *sdp)
{
	c->sdp = learning_component_sdp(sdp, c->component);
	c->sdp_usable =
		learning_sdp_is_usable(c->stream->worker->learning, &c->sdp,
				       &c->stream->local[c->party]);
}

static void learn_anew(struct port *c, const struct endpoint *sdp,
		       uint64_t changed_us)
{
	struct endpoint before = c->sdp;

	drop_held(c);
	if (ip_is_set(&c->learning.remote.ip))
		history_decided(&c->history, HISTORY_REPLACED, /* reason= */ 0,
				&c->learning.remote,
				media_history_ms(c, changed_us), 0);
	take_sdp(c, sdp);
	learning_sdp_changed(&c->learning, &before, &c->sdp, changed_us);
	media_port_show_remote(c);
}

/* With ICE the old pair goes on until the new one is checked (RFC 8445, section
 * 9), if there is to be a new one. */
static void keep_on(struct port *c, const struct endpoint *sdp,
		    uint64_t changed_us)
{
	take_sdp(c, sdp);
	c->learning.changed_us = changed_us;
	media_port_show_remote(c);
}

static bool is_own_remote(const struct port *c, const struct ice *ice)
{
	const struct ice_source *remote = ice_remote(ice, c->party);

	return remote && learning_is_own_port(c->stream->worker->learning,
					      &remote->endpoint,
					      &c->stream->local[c->party]);
}

static void sdp_changed(struct port *c)
{
	const struct stream_settings *s = &c->stream->settings;
	struct ice *ice = c->stream->ice[c->component];

	if (ice)
		ice_sdp_changed(ice, c->party);
	/* Where two calls through this relay met, new SDP alone says who meets
	 * now: session/own_ports.c sees that they make no circle. */
	if (ice && is_own_remote(c, ice))
		ice_forget(ice, c->party);
	if (ice && ice_remote(ice, c->party))
		keep_on(c, &s->sdp[c->party], s->changed_us[c->party]);
	else
		learn_anew(c, &s->sdp[c->party], s->changed_us[c->party]);
}

static void free_ice(struct media_stream *stream)
{
	for (unsigned i = 0; i < COMPONENT_COUNT; i++) {
		free(stream->ice[i]);
		stream->ice[i] = NULL;
		for (unsigned party = 0; party < PARTY_COUNT; party++)
			learning_end_ice(&stream->ports[party][i].learning);
	}
}

/* A rejected stream hears nobody out: who was proving himself begins again when
 * it is accepted after all. */
static void forwarding_changed(struct port *c)
{
	if (!c->stream->settings.forwarding) {
		learning_forget_candidates(&c->learning);
		drop_held(c);
	}
	flow_review(c->stream->worker, c);
}

void media_stream_apply_settings(struct media_stream *stream)
{
	struct stream_settings s;
	struct stream_settings before = stream->settings;

	stream->applied = latch_load(&stream->settings_latch,
				     stream->settings_words, &s, sizeof(s));
	stream->settings = s;
	if (s.sdp_version[PARTY_CALLER] != before.sdp_version[PARTY_CALLER] ||
	    s.sdp_version[PARTY_CALLEE] != before.sdp_version[PARTY_CALLEE] ||
	    s.ice != before.ice) {
		/* Learning takes what was heard along. */
		flow_sync(stream->worker, stream);
		flow_take_back_all(stream->worker, stream);
	}
	if (!s.ice)
		free_ice(stream);
	for (unsigned party = 0; party < PARTY_COUNT; party++) {
		if (s.sdp_version[party] == before.sdp_version[party])
			continue;
		for (unsigned i = 0; i < COMPONENT_COUNT; i++)
			sdp_changed(&stream->ports[party][i]);
	}
	if (s.forwarding == before.forwarding)
		return;
	for (unsigned party = 0; party < PARTY_COUNT; party++)
		for (unsigned i = 0; i < COMPONENT_COUNT; i++)
			forwarding_changed(&stream->ports[party][i]);
}

void media_stream_apply_limits(struct media_stream *stream)
{
	unsigned over = atomic_exchange(&stream->over_limit, 0);
	struct port *all = &stream->ports[0][0];
	struct worker *w = stream->worker;

	for (unsigned i = 0; i < PARTY_COUNT * COMPONENT_COUNT; i++) {
		if (!(over >> i & 1))
			continue;
		all[i].limited_until_us = w->now_us + LIMIT_HOLD_US;
		flow_review(w, &all[i]);
	}
}

void media_stream_join_session(struct media_stream *stream)
{
	if (list_empty(&stream->in_session))
		list_add_tail(&stream->session->streams, &stream->in_session);
}

static uint8_t known_rank(const struct learning *l)
{
	return l->rank <= RANK_KNOWN_IP ? RANK_KNOWN_IP : RANK_PROVED_IP;
}

static void remember_ended(struct media_session *session, enum party party,
			   const struct learning *l)
{
	struct learning_known *ended = session->ended[party];
	uint8_t next = session->ended_next[party];

	for (unsigned i = 0; i < SESSION_ENDED_IPS; i++)
		if (ip_equal(&ended[i].ip, &l->remote.ip)) {
			ended[i].rank = known_rank(l);
			return;
		}
	ended[next] = (struct learning_known){l->remote.ip, known_rank(l)};
	session->ended_next[party] = (uint8_t)((next + 1) % SESSION_ENDED_IPS);
}

void media_stream_leave_session(struct media_stream *stream)
{
	list_del(&stream->in_session);
	for (enum party party = 0; party < PARTY_COUNT; party++)
		for (unsigned i = 0; i < COMPONENT_COUNT; i++) {
			const struct learning *l =
				&stream->ports[party][i].learning;

			if (ip_is_set(&l->remote.ip))
				remember_ended(stream->session, party, l);
		}
}

/* An address is in the list once, with its best rank. */
static size_t add_known(struct learning_known *known, size_t count,
			const struct ip_addr *ip, uint8_t rank)
{
	if (!ip_is_set(ip))
		return count;
	for (size_t i = 0; i < count; i++)
		if (ip_equal(&known[i].ip, ip)) {
			if (rank < known[i].rank)
				known[i].rank = rank;
			return count;
		}
	if (count < STREAM_KNOWN_MAX)
		known[count++] = (struct learning_known){*ip, rank};
	return count;
}

static size_t list_known(struct media_session *session, enum party party,
			 struct learning_known *known)
{
	const struct learning_known *ended = session->ended[party];
	struct ip_addr signalling;
	size_t count = 0;

	latch_load(&session->signalling_latch[party],
		   session->signalling_words[party], &signalling,
		   sizeof(signalling));
	count = add_known(known, count, &signalling, RANK_KNOWN_IP);
	list_for_each (link, &session->streams) {
		const struct media_stream *stream =
			list_item(link, struct media_stream, in_session);

		for (unsigned i = 0; i < COMPONENT_COUNT; i++) {
			const struct learning *l =
				&stream->ports[party][i].learning;

			count = add_known(known, count, &l->remote.ip,
					  known_rank(l));
		}
	}
	for (unsigned i = 0; i < SESSION_ENDED_IPS; i++)
		count = add_known(known, count, &ended[i].ip, ended[i].rank);
	return count;
}

struct learning_facts media_stream_facts(struct port *c,
					 const struct learning_config *config,
					 struct learning_known *known,
					 uint64_t now_us)
{
	struct media_stream *stream = c->stream;
	const struct learning *rtp =
		&stream->ports[c->party][COMPONENT_RTP].learning;

	return (struct learning_facts){
		.config = config,
		.sdp = &c->sdp,
		.known = known,
		.known_count = list_known(stream->session, c->party, known),
		.local_is_loopback = ip_is_loopback(&stream->local[c->party]),
		.has_rtp_ssrc = rtp->has_ssrc,
		.rtp_ssrc = rtp->ssrc,
		.opened_us = stream->settings.opened_us,
		.resumed_us = stream->settings.resumed_us,
		.now_us = now_us,
	};
}

/* ---- control ---- */

/* The worker looks when the next packet comes. Where an engine has flows, none
 * may come: then it is told. flow.c counts a flow before it looks at the
 * settings for the last time, and both of us exchange the counter: so either
 * it was counted before, or the settings are seen. */
static void publish(struct media_stream *stream)
{
	latch_store(&stream->settings_latch, stream->settings_words,
		    &stream->wanted, sizeof(stream->wanted));
	if (atomic_fetch_add(&stream->flows, 0) > 0 && !stream->closing)
		worker_note(stream->worker, stream, STREAM_LOOK);
}

static void init_component(struct media_stream *stream, enum party party,
			   enum component component,
			   const struct media_port_pair *pair)
{
	struct port *c = &stream->ports[party][component];
	struct endpoint local = pair->local;

	c->stream = stream;
	c->party = party;
	c->component = component;
	c->fd = pair->fd[component];
	c->shown.payload_type = -1;
	list_init(&c->timer);
	learning_init(&c->learning, component);
	if (component == COMPONENT_RTCP)
		local.port++;
	flow_init(c, &local);
}

int media_stream_new(struct media_stream **ret, struct media_session *session,
		     const struct media_port_pair pairs[PARTY_COUNT],
		     enum media_format format)
{
	struct media_stream *stream = calloc(1, sizeof(*stream));
	struct media *media = session->media;

	if (!stream)
		return -ENOMEM;
	stream->session = session;
	stream->worker = session->worker;
	stream->format = format;
	stream->began_us = clock_mono_us();
	stream->wanted.forwarding = true;
	list_init(&stream->in_session);
	for (enum party party = 0; party < PARTY_COUNT; party++) {
		stream->local[party] = pairs[party].local.ip;
		for (enum component i = 0; i < COMPONENT_COUNT; i++)
			init_component(stream, party, i, &pairs[party]);
	}
	list_add_tail(&media->streams, &stream->in_media);
	media->streams_created++;
	session->stream_count++;

	if (worker_watch(stream->worker, stream) < 0) {
		/* The worker may look at it just now, so it comes back by
		 * way of the worker, but the sockets stay the caller's. */
		worker_note(stream->worker, stream, STREAM_CLOSE);
		return -ENOMEM;
	}
	publish(stream);
	*ret = stream;
	return 0;
}

void media_stream_free(struct media *media, struct media_stream *stream)
{
	struct port *all = &stream->ports[0][0];

	list_del(&stream->in_media);
	media->streams_destroyed++;
	stream->session->stream_count--;
	media_session_unref(stream->session);
	free_ice(stream);
	for (unsigned i = 0; i < PARTY_COUNT * COMPONENT_COUNT; i++)
		free(all[i].others);
	free(stream->limit_watch);
	free(stream);
}

void media_stream_set_sdp(struct media_stream *stream, enum party party,
			  const struct endpoint *sdp)
{
	struct stream_settings *wanted = &stream->wanted;
	struct endpoint normal = learning_component_sdp(sdp, COMPONENT_RTP);

	if (endpoint_equal(&wanted->sdp[party], &normal))
		return;
	wanted->sdp[party] = normal;
	wanted->sdp_version[party]++;
	wanted->changed_us[party] = clock_mono_us();
	publish(stream);
	/* What the worker installs from now on, it takes back by itself. */
	flow_pause(stream);
}

void media_stream_open(struct media_stream *stream)
{
	if (stream->wanted.opened_us != 0)
		return;
	stream->wanted.opened_us = clock_mono_us();
	publish(stream);
}

void media_stream_resume(struct media_stream *stream)
{
	stream->wanted.resumed_us = clock_mono_us();
	publish(stream);
}

void media_stream_set_ice(struct media_stream *stream, bool ice)
{
	if (stream->wanted.ice == ice)
		return;
	stream->wanted.ice = ice;
	publish(stream);
	flow_pause(stream);
}

void media_stream_set_forwarding(struct media_stream *stream, bool forwarding)
{
	if (stream->wanted.forwarding == forwarding)
		return;
	stream->wanted.forwarding = forwarding;
	publish(stream);
}

static void read_component(const struct media_stream *stream,
			   const struct port *c, struct media_counters *ret)
{
	const struct shown_counters *shown = &c->shown;
	struct shown_remote remote;

	*ret = (struct media_counters){
		.packets = count_read(&shown->packets),
		.bytes = count_read(&shown->bytes),
		.first_media_us = count_read(&shown->first_media_us),
		.last_media_us = count_read(&shown->last_media_us),
		.payload_type = atomic_load_explicit(&shown->payload_type,
						     memory_order_relaxed),
	};
	for (unsigned why = 0; why < DROP_COUNT; why++)
		ret->drops[why] = count_read(&shown->drops[why]);
	flow_read(c, ret);
	latch_load(&shown->remote, shown->remote_words, &remote,
		   sizeof(remote));
	/* The worker finds out about new SDP with the next packet. */
	if (remote.sdp_version != stream->wanted.sdp_version[c->party])
		return;
	ret->remote = remote.endpoint;
	ret->rule = remote.rule;
}

void media_stream_read(const struct media_stream *stream,
		       struct media_snapshot *ret)
{
	for (unsigned party = 0; party < PARTY_COUNT; party++)
		for (unsigned i = 0; i < COMPONENT_COUNT; i++)
			read_component(stream, &stream->ports[party][i],
				       &ret->from[party][i]);
}

bool media_stream_read_history(const struct media_stream *stream,
			       enum party party, enum component component,
			       struct history_facts *ret)
{
	return history_read(&stream->ports[party][component].history, ret);
}

/* By the rule that the worker goes by for what comes up to it. What was too
 * much is no debt: the flow is taken back, and begins anew. */
static bool is_over_limit(const struct worker *w, struct limit_watch *watch,
			  unsigned index, const struct media_counters *c,
			  uint64_t now_us)
{
	uint64_t packets = c->packets - watch->ports[index].packets;
	uint64_t bytes = c->bytes - watch->ports[index].bytes;
	struct limit_bucket *packet_limit = &watch->ports[index].packet_limit;
	struct limit_bucket *byte_limit = &watch->ports[index].byte_limit;

	watch->ports[index].packets = c->packets;
	watch->ports[index].bytes = c->bytes;
	limit_use(packet_limit, &w->packet_rate, watch->read_us, packets);
	limit_use(byte_limit, &w->byte_rate, watch->read_us, bytes);
	if (!limit_is_over(packet_limit, now_us) &&
	    !limit_is_over(byte_limit, now_us))
		return false;
	*packet_limit = *byte_limit = (struct limit_bucket){0};
	return true;
}

/* What came before is past. */
static void begin_watch(struct limit_watch *watch,
			const struct media_counters *all, uint64_t now_us)
{
	for (unsigned i = 0; i < PARTY_COUNT * COMPONENT_COUNT; i++) {
		watch->ports[i].packets = all[i].packets;
		watch->ports[i].bytes = all[i].bytes;
	}
	watch->read_us = now_us;
}

void media_stream_check_limits(struct media_stream *stream,
			       const struct media_snapshot *snapshot,
			       uint64_t now_us)
{
	const struct media_counters *all = &snapshot->from[0][0];
	struct limit_watch *watch = stream->limit_watch;
	unsigned over = 0;

	if (stream->closing || atomic_load(&stream->flows) == 0)
		return;
	if (!watch)
		watch = stream->limit_watch = calloc(1, sizeof(*watch));
	if (!watch)
		return;
	if (watch->read_us == 0) {
		begin_watch(watch, all, now_us);
		return;
	}
	for (unsigned i = 0; i < PARTY_COUNT * COMPONENT_COUNT; i++)
		if (is_over_limit(stream->worker, watch, i, &all[i], now_us))
			over |= 1u << i;
	watch->read_us = now_us;
	if (over == 0)
		return;
	atomic_fetch_or(&stream->over_limit, over);
	worker_note(stream->worker, stream, STREAM_LIMIT);
}

void media_stream_close(struct media_stream *stream, media_closed_h *closed,
			void *arg)
{
	stream->closed = closed;
	stream->closed_arg = arg;
	if (stream->closing)
		return;
	stream->closing = true;
	worker_note(stream->worker, stream, STREAM_CLOSE);
}
