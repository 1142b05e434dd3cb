#include "media/media.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>

#include "media/internal.h"
#include "media/socket.h"

#define WORKERS_MOST 256

static const char *const drop_names[DROP_COUNT] = {
	[DROP_NOT_THE_REMOTE] = "not_the_remote",
	[DROP_NOT_OPEN] = "not_open",
	[DROP_STRICT] = "strict",
	[DROP_NOT_PROVED] = "not_proved",
	[DROP_NO_DESTINATION] = "no_destination",
	[DROP_NOT_FORWARDING] = "not_forwarding",
	[DROP_SEND_FAILED] = "send_failed",
	[DROP_SEND_FULL] = "send_full",
	[DROP_RECEIVE_FULL] = "receive_full",
	[DROP_STUN_REFUSED] = "stun_refused",
	[DROP_STUN_LIMIT] = "stun_limit",
	[DROP_FLOOD] = "flood",
	[DROP_OVER_LIMIT] = "over_limit",
};

const char *media_drop_name(enum media_drop drop)
{
	return (unsigned)drop < DROP_COUNT ? drop_names[drop] : "unknown";
}

const char *media_forwarding_name(enum media_forwarding forwarding)
{
	static const char *const names[] = {
		[FORWARDING_AUTO] = "auto",
		[FORWARDING_XDP] = "xdp",
		[FORWARDING_TC] = "tc",
		[FORWARDING_USERSPACE] = "userspace",
	};

	return names[forwarding];
}

/* ---- start and stop ---- */

static unsigned usable_cores(void)
{
	cpu_set_t set;
	int count;

	if (sched_getaffinity(0, sizeof(set), &set) < 0)
		return 1;
	count = CPU_COUNT(&set);
	return count > 0 ? (unsigned)count : 1;
}

static int start_workers(struct media *media, const struct media_limits *limits)
{
	for (unsigned i = 0; i < media->worker_count; i++) {
		struct worker *w = &media->workers[i];
		int err;

		w->media = media;
		w->learning = &media->learning;
		w->packet_rate = limit_rate_of(limits->packets);
		w->byte_rate = limit_rate_of(limits->bytes);
		w->keeps_tos = media->engine_config.keeps_tos;
		w->done = &media->done;
		w->done_fd = media->done_fd;
		err = worker_start(w, i);
		if (err < 0) {
			media->worker_count = i + 1;
			return err;
		}
	}
	return 0;
}

static void engine_news(struct engine_item *item, void *arg)
{
	struct port *port = container_of(item, struct port, flow.item);

	worker_news(port->stream->worker, item);
}

void media_use_engine(struct media *media, struct engine *engine)
{
	engine->news = engine_news;
	engine->arg = media;
	atomic_store(&media->engine, engine);
}

static void say_userspace(struct media *media)
{
	snprintf(media->engine_reason, sizeof(media->engine_reason),
		 "forwarding = userspace");
}

/* Without one everything goes through userspace: no error, but a warning. */
static int open_engine(struct media *media, enum media_forwarding forwarding)
{
	struct media_engine_config config = media->engine_config;
	struct engine *engine;
	int r;

	config.forwarding = forwarding;
	r = kernel_engine_open(&engine, &config, media->engine_reason,
			       sizeof(media->engine_reason));
	if (r == 0)
		media_use_engine(media, engine);
	return r;
}

void media_remove_leftovers(const struct media_engine_config *config)
{
	kernel_engine_sweep(config);
}

int media_set_forwarding(struct media *media, enum media_forwarding forwarding)
{
	struct engine *engine = atomic_load(&media->engine);

	if (engine)
		engine->ops->set_forwarding(engine, forwarding);
	else if (forwarding != FORWARDING_USERSPACE)
		return open_engine(media, forwarding);
	else
		say_userspace(media);
	return 0;
}

void media_engine_status(const struct media *media,
			 struct media_engine_status *ret)
{
	const struct engine *engine = atomic_load(&media->engine);

	*ret = (struct media_engine_status){.name = "userspace",
					    .forwarding = FORWARDING_USERSPACE};
	if (engine)
		engine->ops->status(engine, ret);
	else
		memcpy(ret->reason, media->engine_reason, sizeof(ret->reason));
}

const char *media_engine_name(const struct media *media)
{
	const struct engine *engine = atomic_load(&media->engine);

	return engine ? atomic_load(&engine->name) : "userspace";
}

bool media_interface_status(const struct media *media, unsigned index,
			    struct media_interface_status *ret)
{
	const struct engine *engine = atomic_load(&media->engine);

	return engine && engine->ops->interface(engine, index, ret);
}

int media_new(struct media **ret, const struct media_config *config)
{
	unsigned count =
		config->worker_count ? config->worker_count : usable_cores();
	struct media *media;
	int err;

	if (count > WORKERS_MOST)
		count = WORKERS_MOST;
	media = calloc(1, sizeof(*media) + count * sizeof(media->workers[0]));
	if (!media)
		return -ENOMEM;
	media->learning = config->learning;
	media->engine_config = config->engine;
	say_userspace(media);
	list_init(&media->streams);
	media->done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (media->done_fd < 0) {
		err = -errno;
		free(media);
		return err;
	}
	media->worker_count = count;
	err = start_workers(media, &config->limits);
	if (err < 0) {
		media_free(media);
		return err;
	}
	if (config->engine.forwarding != FORWARDING_USERSPACE)
		(void)open_engine(media, config->engine.forwarding);
	*ret = media;
	return 0;
}

/* The workers have stopped: what is theirs is ours now. */
static void free_open_streams(struct media *media)
{
	list_for_each_safe (link, &media->streams) {
		struct media_stream *stream =
			list_item(link, struct media_stream, in_media);
		struct port *all = &stream->ports[0][0];
		struct held_budget *budget = &stream->worker->held;

		for (unsigned i = 0; i < PARTY_COUNT * COMPONENT_COUNT; i++) {
			held_clear(&all[i].held, budget);
			if (latch_version(&stream->settings_latch) == 0 ||
			    all[i].fd < 0)
				continue;
			close(all[i].fd);
			media->sockets_closed++;
		}
		media_stream_free(media, stream);
	}
}

struct media *media_free(struct media *media)
{
	struct engine *engine;

	if (!media)
		return NULL;
	engine = atomic_load(&media->engine);
	/* Workers ask the engine, and the engine wakes workers. */
	for (unsigned i = 0; i < media->worker_count; i++)
		worker_stop(&media->workers[i]);
	if (engine)
		engine->ops->close(engine);
	for (unsigned i = 0; i < media->worker_count; i++)
		worker_done(&media->workers[i]);
	free_open_streams(media);
	close(media->done_fd);
	free(media);
	return NULL;
}

/* ---- numbers ---- */

int media_event_fd(const struct media *media)
{
	return media->done_fd;
}

static void add_engine_totals(const struct media_stream *stream,
			      struct media_totals *totals)
{
	struct engine_counters c;

	flow_read_stream(stream, &c);
	totals->packets += c.packets;
	totals->kernel_packets += c.packets;
	totals->bytes += c.bytes;
	totals->drops[DROP_FLOOD] += c.dropped;
}

void media_read_totals(const struct media *media, struct media_totals *ret)
{
	struct media_totals totals = {
		.streams_created = media->streams_created,
		.streams_destroyed = media->streams_destroyed,
		.sockets_opened = media->sockets_opened,
		.sockets_closed = media->sockets_closed,
		.worker_count = media->worker_count,
		.packets = media->kernel.packets,
		.bytes = media->kernel.bytes,
		.kernel_packets = media->kernel.packets,
		.drops[DROP_FLOOD] = media->kernel.dropped,
	};

	for (unsigned i = 0; i < media->worker_count; i++) {
		const struct worker *w = &media->workers[i];

		totals.packets += count_read(&w->packets);
		totals.bytes += count_read(&w->bytes);
		totals.sockets_closed += count_read(&w->sockets_closed);
		for (unsigned why = 0; why < DROP_COUNT; why++)
			totals.drops[why] += count_read(&w->drops[why]);
	}
	list_for_each (link, &media->streams)
		add_engine_totals(
			list_item(link, struct media_stream, in_media),
			&totals);
	*ret = totals;
}

static void keep_engine_totals(struct media *media,
			       const struct media_stream *stream)
{
	struct engine_counters c;

	flow_read_stream(stream, &c);
	media->kernel.packets += c.packets;
	media->kernel.bytes += c.bytes;
	media->kernel.dropped += c.dropped;
}

void media_dispatch(struct media *media)
{
	struct queue_link *link;
	eventfd_t ignored;

	eventfd_read(media->done_fd, &ignored);
	link = queue_take_all(&media->done);
	while (link) {
		struct media_stream *stream =
			container_of(link, struct media_stream, link);
		struct media_snapshot final;

		link = link->next;
		media_stream_read(stream, &final);
		keep_engine_totals(media, stream);
		if (stream->closed)
			stream->closed(&final, stream->closed_arg);
		media_stream_free(media, stream);
	}
}

bool media_is_denied(const struct media *media, const struct ip_addr *ip)
{
	return learning_is_denied(&media->learning, ip);
}

/* ---- port pairs ---- */

int media_port_pair_open(struct media *media, const struct ip_addr *ip,
			 uint16_t rtp, struct media_port_pair *ret)
{
	struct endpoint local = {*ip, rtp};
	int rtp_fd, rtcp_fd;

	if (rtp == 0 || rtp % 2 != 0 || !ip_is_set(ip))
		return -EINVAL;
	rtp_fd = media_socket_open(&local, media->engine_config.tos,
				   media->engine_config.keeps_tos);
	if (rtp_fd < 0)
		return rtp_fd;
	local.port++;
	rtcp_fd = media_socket_open(&local, media->engine_config.tos,
				    media->engine_config.keeps_tos);
	if (rtcp_fd < 0) {
		close(rtp_fd);
		return rtcp_fd;
	}
	media->sockets_opened += COMPONENT_COUNT;
	*ret = (struct media_port_pair){
		.local = {*ip, rtp},
		.fd = {[COMPONENT_RTP] = rtp_fd, [COMPONENT_RTCP] = rtcp_fd},
	};
	return 0;
}

void media_port_pair_close(struct media *media, struct media_port_pair *pair)
{
	for (unsigned i = 0; i < COMPONENT_COUNT; i++) {
		if (pair->fd[i] < 0)
			continue;
		close(pair->fd[i]);
		pair->fd[i] = -1;
		media->sockets_closed++;
	}
}

/* ---- sessions ---- */

bool media_may_send_to(const struct media *media, const struct endpoint *sdp,
		       const struct ip_addr *local)
{
	return learning_sdp_is_usable(&media->learning, sdp, local);
}

static struct worker *least_busy(struct media *media)
{
	struct worker *best = &media->workers[0];

	for (unsigned i = 1; i < media->worker_count; i++)
		if (media->workers[i].session_count < best->session_count)
			best = &media->workers[i];
	return best;
}

int media_session_new(struct media_session **ret, struct media *media)
{
	struct media_session *session = calloc(1, sizeof(*session));

	if (!session)
		return -ENOMEM;
	session->media = media;
	session->worker = least_busy(media);
	session->worker->session_count++;
	list_init(&session->streams);
	*ret = session;
	return 0;
}

void media_session_unref(struct media_session *session)
{
	if (!session->released || session->stream_count > 0)
		return;
	session->worker->session_count--;
	free(session);
}

struct media_session *media_session_free(struct media_session *session)
{
	if (session) {
		session->released = true;
		media_session_unref(session);
	}
	return NULL;
}

void media_session_set_signalling(struct media_session *session,
				  enum party party, const struct ip_addr *ip)
{
	latch_store(&session->signalling_latch[party],
		    session->signalling_words[party], ip, sizeof(*ip));
}
