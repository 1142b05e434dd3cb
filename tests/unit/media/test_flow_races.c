/* Many streams at once, whose engine answers from a thread of its own at random
 * moments, while they talk, change and end. What this is about shows under the
 * sanitizers, in the rules that fake_engine.h watches over, and in the numbers:
 * each packet is forwarded by one of both, or its drop is counted. */
#include <sys/resource.h>

#include "flow_scene.h"

#define STREAMS 200
#define CHANGES 2000
#define STREAM_LIFES 2

struct slot {
	struct media_session *session;
	struct media_stream *stream;
	struct media_port_pair pairs[PARTY_COUNT];
	uint64_t sent[PARTY_COUNT][COMPONENT_COUNT], by_engine;
	uint16_t seq;
	bool moved, refused, closing;
	struct media_snapshot final;
};

struct crowd {
	struct fake_engine *engine;
	struct media *media;
	struct phone phones[PARTY_COUNT], elsewhere;
	pthread_mutex_t lock; /* of the slots, but for the final numbers */
	struct slot slots[STREAMS];
	unsigned closed;
	_Atomic bool stop;
};

static void open_slot(struct crowd *crowd, struct slot *slot)
{
	*slot = (struct slot){0};
	assert_int_equal(media_session_new(&slot->session, crowd->media), 0);
	for (unsigned i = 0; i < PARTY_COUNT; i++)
		open_pair(crowd->media, AF_INET, &slot->pairs[i]);
	assert_int_equal(media_stream_new(&slot->stream, slot->session,
					  slot->pairs, MEDIA_FORMAT_RTP),
			 0);
	for (enum party p = 0; p < PARTY_COUNT; p++)
		media_stream_set_sdp(slot->stream, p, &crowd->phones[p].at[0]);
	media_stream_open(slot->stream);
}

/* By the engine if it has the flow, as the kernel would, else to the socket. */
static void send_one(struct crowd *crowd, struct slot *slot, enum party party,
		     enum component component)
{
	const struct phone *phone = &crowd->phones[party];
	struct endpoint to = slot->pairs[party].local;
	uint8_t packet[RTP_LEN];

	if (component == COMPONENT_RTCP)
		to.port++;
	slot->seq++;
	slot->sent[party][component]++;
	if (fake_forward(crowd->engine, &to, &phone->at[component],
			 (uint32_t)party + 1, slot->seq, IP4_LEN)) {
		slot->by_engine++;
		return;
	}
	make_rtp(packet, (uint32_t)party + 1, slot->seq);
	if (component == COMPONENT_RTCP)
		packet[1] = 201;
	send_to(phone->fd[component], &to, packet, RTP_LEN);
}

static void discard_all(struct phone *phone)
{
	uint8_t byte;

	for (unsigned i = 0; i < COMPONENT_COUNT; i++)
		while (recv(phone->fd[i], &byte, 1, MSG_DONTWAIT) >= 0)
			;
}

static void *talk_all_the_time(void *arg)
{
	struct crowd *crowd = arg;
	unsigned seed = 2;

	while (!crowd->stop) {
		for (unsigned i = 0; i < STREAMS; i++) {
			struct slot *slot = &crowd->slots[i];

			pthread_mutex_lock(&crowd->lock);
			if (slot->stream && !slot->closing)
				send_one(crowd, slot,
					 (enum party)(rand_r(&seed) % 2),
					 rand_r(&seed) % 4 ? COMPONENT_RTP
							   : COMPONENT_RTCP);
			pthread_mutex_unlock(&crowd->lock);
		}
		for (enum party p = 0; p < PARTY_COUNT; p++)
			discard_all(&crowd->phones[p]);
		discard_all(&crowd->elsewhere);
		poll(NULL, 0, 1);
	}
	return NULL;
}

static uint64_t accounted(const struct media_counters *c)
{
	uint64_t sum = c->packets;

	for (unsigned why = 0; why < DROP_COUNT; why++)
		sum += c->drops[why];
	return sum;
}

static bool is_all_accounted(const struct slot *slot,
			     const struct media_snapshot *snapshot)
{
	for (enum party p = 0; p < PARTY_COUNT; p++)
		for (enum component c = 0; c < COMPONENT_COUNT; c++)
			if (accounted(&snapshot->from[p][c]) !=
			    slot->sent[p][c])
				return false;
	return true;
}

/* What a socket holds beyond a batch is lost with it: so that all is read. */
static void await_read(const struct slot *slot)
{
	struct media_snapshot snapshot;

	AWAIT((media_stream_read(slot->stream, &snapshot),
	       is_all_accounted(slot, &snapshot)));
}

static void stream_closed(const struct media_snapshot *final, void *arg)
{
	struct slot *slot = arg;

	slot->final = *final;
	slot->stream = NULL;
}

/* With the lock: nobody sends any more. */
static void close_slot(struct slot *slot)
{
	slot->closing = true;
	media_stream_close(slot->stream, stream_closed, slot);
	slot->session = media_session_free(slot->session);
}

static void change(struct crowd *crowd, struct slot *slot, unsigned dice)
{
	const struct phone *phone = &crowd->phones[PARTY_CALLEE];
	struct media_snapshot snapshot;
	struct media_totals totals;

	switch (dice % 4) {
	case 0:
		slot->moved = !slot->moved;
		media_stream_set_sdp(slot->stream, PARTY_CALLEE,
				     slot->moved ? &crowd->elsewhere.at[0]
						 : &phone->at[0]);
		break;
	case 1:
		slot->refused = !slot->refused;
		media_stream_set_forwarding(slot->stream, !slot->refused);
		break;
	case 2:
		media_stream_read(slot->stream, &snapshot);
		break;
	default:
		media_read_totals(crowd->media, &totals);
	}
}

static void await_all_closed(struct crowd *crowd)
{
	for (unsigned i = 0; i < STREAMS; i++) {
		struct slot *slot = &crowd->slots[i];

		while (slot->stream) {
			wait_readable(media_event_fd(crowd->media));
			pthread_mutex_lock(&crowd->lock);
			media_dispatch(crowd->media);
			pthread_mutex_unlock(&crowd->lock);
		}
	}
}

static void assert_exact(const struct slot *slot)
{
	uint64_t kernel_packets = 0;

	assert_true(is_all_accounted(slot, &slot->final));
	for (enum party p = 0; p < PARTY_COUNT; p++)
		for (enum component c = 0; c < COMPONENT_COUNT; c++)
			kernel_packets += slot->final.from[p][c].kernel_packets;
	assert_int_equal(kernel_packets, slot->by_engine);
}

/* @return what the engine forwarded */
static uint64_t one_life(struct crowd *crowd, unsigned *seed)
{
	uint64_t by_engine = 0;

	for (unsigned i = 0; i < STREAMS; i++) {
		pthread_mutex_lock(&crowd->lock);
		open_slot(crowd, &crowd->slots[i]);
		pthread_mutex_unlock(&crowd->lock);
	}
	for (unsigned i = 0; i < CHANGES; i++) {
		/* Some change, most only talk. */
		change(crowd, &crowd->slots[(unsigned)rand_r(seed) % 50],
		       (unsigned)rand_r(seed));
		if (i % 4 == 0)
			poll(NULL, 0, 1);
	}
	for (unsigned i = 0; i < STREAMS; i++) {
		struct slot *slot = &crowd->slots[i];

		pthread_mutex_lock(&crowd->lock);
		await_read(slot);
		close_slot(slot);
		pthread_mutex_unlock(&crowd->lock);
	}
	await_all_closed(crowd);
	for (unsigned i = 0; i < STREAMS; i++) {
		assert_exact(&crowd->slots[i]);
		by_engine += crowd->slots[i].by_engine;
	}
	return by_engine;
}

static void allow_files(void)
{
	struct rlimit limit;

	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	limit.rlim_cur = limit.rlim_max;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

static void test_each_packet_of_a_crowd_is_accounted_for_once(void **state)
{
	static struct crowd crowd;
	uint64_t by_engine = 0, dropped = 0;
	struct media_totals totals;
	unsigned seed = 3;
	pthread_t talker;

	(void)state;
	allow_files();
	crowd.engine = fake_engine_new();
	fake_start_thread(crowd.engine);
	crowd.media = start_media_with(crowd.engine, SHORT_US, 60000000);
	for (enum party p = 0; p < PARTY_COUNT; p++)
		crowd.phones[p] = open_phone(crowd.media, AF_INET);
	crowd.elsewhere = open_phone(crowd.media, AF_INET);
	pthread_mutex_init(&crowd.lock, NULL);
	assert_int_equal(
		pthread_create(&talker, NULL, talk_all_the_time, &crowd), 0);

	for (unsigned i = 0; i < STREAM_LIFES; i++)
		by_engine += one_life(&crowd, &seed);
	crowd.stop = true;
	pthread_join(talker, NULL);

	assert_true(by_engine > 0);
	media_read_totals(crowd.media, &totals);
	assert_int_equal(totals.kernel_packets, by_engine);
	assert_int_equal(totals.streams_created, STREAMS * STREAM_LIFES);
	assert_int_equal(totals.streams_destroyed, totals.streams_created);
	for (unsigned why = 0; why < DROP_COUNT; why++)
		dropped += totals.drops[why];
	print_message("%llu by userspace, %llu by the engine, %llu dropped\n",
		      (unsigned long long)(totals.packets - by_engine),
		      (unsigned long long)by_engine,
		      (unsigned long long)dropped);
	for (enum party p = 0; p < PARTY_COUNT; p++)
		close_phone(crowd.media, &crowd.phones[p]);
	close_phone(crowd.media, &crowd.elsewhere);
	pthread_mutex_destroy(&crowd.lock);
	media_free(crowd.media);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			test_each_packet_of_a_crowd_is_accounted_for_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
