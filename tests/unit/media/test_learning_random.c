/*
 * Random sequences of packets, with an oracle that is written another way: it
 * keeps the whole history of each source and looks back. What learning promises
 * stands in check_promises() and check_confirmation(). Fixed seeds.
 */
#include <string.h>

#include "learning_scene.h"
#include "media/held.h"

#define STEPS 20000
#define SEEDS 30
#define SOURCES 12

static const char *const source_names[SOURCES] = {
	SDP_ADDRESS,        SDP_IP_OTHER_PORT, SIGNALLING_SOURCE,
	"203.0.113.9:7001", STRANGER,          STRANGER_B,
	"192.0.2.66:1025",  "192.0.2.70:1",    "192.0.2.70:2",
	"192.0.2.70:3",     "192.0.2.70:4",    "198.51.100.7:5002",
};

/* What the oracle remembers of a source since the last reset. */
struct past {
	uint8_t run;
	uint32_t ssrc;
	uint16_t seq;
	uint64_t single_us; /* its first packet that speaks for itself, alone */
	uint64_t last_us;
};

/* A remote that new SDP has replaced, and the SDP of its time. */
struct replaced {
	int remote, sdp; /* indexes; remote -1: none */
};

struct world {
	struct scene s;
	unsigned sdp; /* index of the source that is in the SDP */
	struct replaced replaced[LEARNING_REPLACED]; /* the latest first */
	struct held held;
	struct held_budget budget;
	struct endpoint sources[SOURCES];
	struct past history[SOURCES];
	uint16_t seq[SOURCES];
	uint64_t random;
	/* the oracle's own idea of the remote */
	int remote; /* index; -1: none */
	enum learning_rank remote_rank;
	uint64_t remote_media_us;
	uint32_t remote_ssrc;
	bool remote_has_ssrc;
	unsigned confirmed[RULE_ICE + 1];
	unsigned forgotten, came_back;
	/* who talks at present: of these many sources, from this one on */
	unsigned first_talker, talkers;
};

static uint32_t next_random(struct world *w, uint32_t below)
{
	w->random ^= w->random << 13;
	w->random ^= w->random >> 7;
	w->random ^= w->random << 17;
	return (uint32_t)(w->random >> 32) % below;
}

static void reset_history(struct world *w)
{
	memset(w->history, 0, sizeof(w->history));
}

static struct packet_facts random_packet(struct world *w, unsigned from)
{
	uint32_t what = next_random(w, 20);
	bool is_rtcp_port = w->s.l.component == COMPONENT_RTCP;
	struct packet_facts p;

	if (what < 2)
		return stun();
	if (what < 3 || (is_rtcp_port && what < 14))
		return rtcp(RTP_SSRC + next_random(w, 2));
	if (what < 5)
		return single(PACKET_DTLS);
	if (what < 6)
		return udptl((uint16_t)next_random(w, 50));
	/* Nearly always in sequence, so that proofs succeed. */
	w->seq[from] = (uint16_t)(w->seq[from] + 1 + next_random(w, 3) +
				  (next_random(w, 12) == 0 ? 20 : 0));
	p = rtp_of(RTP_SSRC + (next_random(w, 12) == 0), w->seq[from]);
	p.single = next_random(w, 30) == 0;
	return p;
}

static enum learning_rank true_rank(const struct world *w, unsigned from)
{
	const struct ip_addr *ip = &w->sources[from].ip;

	if (from == w->sdp)
		return RANK_SDP;
	for (unsigned i = 0; i < LEARNING_REPLACED; i++)
		if (w->replaced[i].remote == (int)from)
			return RANK_STRANGER;
	if (ip_equal(ip, &w->s.sdp.ip) || ip_equal(ip, &w->s.known[0].ip))
		return RANK_KNOWN_IP;
	return ip_equal(ip, &w->s.known[1].ip) ? RANK_PROVED_IP : RANK_STRANGER;
}

static bool has_right_ssrc(const struct world *w, const struct packet_facts *p)
{
	return p->kind == PACKET_RTCP && w->s.facts.has_rtp_ssrc &&
	       p->ssrc == w->s.facts.rtp_ssrc;
}

/* Look at a stranger's packet that may count for a proof. */
static void note_history(struct world *w, unsigned from,
			 const struct packet_facts *p)
{
	struct past *h = &w->history[from];
	uint64_t now = w->s.facts.now_us;
	bool alone = true;

	for (unsigned i = 0; i < SOURCES; i++) {
		if (i == from || w->history[i].last_us == 0)
			continue;
		w->history[i].single_us = 0;
		if (now < w->history[i].last_us + SETTLE)
			alone = false;
	}
	if (p->kind == PACKET_RTP) {
		unsigned step = (uint16_t)(p->seq - h->seq);
		bool next = h->run > 0 && h->ssrc == p->ssrc && step >= 1 &&
			    step <= 16;

		h->run = (uint8_t)(next ? h->run + (h->run < 200) : 1);
		h->ssrc = p->ssrc;
		h->seq = p->seq;
	}
	if (p->single && alone && h->single_us == 0)
		h->single_us = now;
	h->last_us = now;
}

static bool has_proved(const struct world *w, unsigned from,
		       const struct packet_facts *p)
{
	const struct past *h = &w->history[from];

	if (w->s.l.component == COMPONENT_RTCP || (p && p->kind == PACKET_RTCP))
		return p && has_right_ssrc(w, p);
	return h->run >= 4 ||
	       (h->single_us > 0 && w->s.facts.now_us >= h->single_us + SETTLE);
}

static bool rank_3_is_open(const struct world *w)
{
	uint64_t from = w->s.facts.opened_us > w->s.l.changed_us
				? w->s.facts.opened_us
				: w->s.l.changed_us;

	return w->s.config.mode == LEARNING_SAFE && w->s.facts.opened_us > 0 &&
	       w->s.facts.now_us >= from + SETTLE;
}

/* SDP ended a hold in which the remote was silent. */
static bool may_come_back(const struct world *w, unsigned from,
			  enum learning_rank rank)
{
	return w->remote >= 0 && w->s.facts.resumed_us > w->remote_media_us &&
	       w->s.facts.now_us >= w->remote_media_us + SILENCE &&
	       (rank <= RANK_KNOWN_IP ||
		ip_equal(&w->sources[from].ip, &w->sources[w->remote].ip));
}

static void check_confirmation(struct world *w, unsigned from,
			       const struct packet_facts *p,
			       enum learning_rule rule)
{
	enum learning_rank rank = true_rank(w, from);

	w->confirmed[rule]++;
	switch (rule) {
	case RULE_SDP:
		assert_int_equal(rank, RANK_SDP);
		assert_true(w->remote < 0 || w->remote_rank > RANK_SDP);
		break;
	case RULE_KNOWN_IP:
		if (may_come_back(w, from, rank)) {
			w->came_back++;
			break;
		}
		assert_in_range(rank, RANK_KNOWN_IP, RANK_PROVED_IP);
		if (rank == RANK_PROVED_IP)
			assert_int_equal(w->remote, -1);
		assert_true(w->remote < 0 || w->remote_rank > RANK_KNOWN_IP);
		break;
	case RULE_PROVED:
		assert_true(rank_3_is_open(w));
		assert_int_equal(w->remote, -1);
		assert_true(has_proved(w, from, p));
		break;
	case RULE_REBIND:
		assert_true(w->remote >= 0 && w->remote != (int)from);
		assert_true(w->s.facts.now_us >= w->remote_media_us + SILENCE);
		if (p->kind == PACKET_RTP)
			assert_int_equal(p->ssrc, w->remote_ssrc);
		if (p->kind == PACKET_RTCP)
			assert_true(rank < RANK_STRANGER &&
				    has_right_ssrc(w, p));
		if (w->s.config.mode == LEARNING_STRICT)
			assert_true(rank < RANK_STRANGER);
		break;
	default:
		assert_int_equal(w->s.config.mode, LEARNING_FIRST_PACKET);
		assert_int_equal(w->remote, -1);
	}
	w->remote = (int)from;
	w->remote_rank = rank;
	w->remote_has_ssrc = false;
	reset_history(w);
}

static void note_remote_media(struct world *w, const struct packet_facts *p)
{
	if (p->kind == PACKET_STUN)
		return;
	w->remote_media_us = w->s.facts.now_us;
	if (p->kind != PACKET_RTP)
		return;
	w->remote_ssrc = p->ssrc;
	w->remote_has_ssrc = true;
}

/* A silent remote of RTCP is forgotten before anything else is looked at. */
static void forget_silent(struct world *w)
{
	if (w->s.l.component != COMPONENT_RTCP || w->remote < 0 ||
	    w->s.facts.now_us < w->remote_media_us + w->s.config.rtcp_forget_us)
		return;
	w->remote = -1;
	w->forgotten++;
	reset_history(w);
}

/* What holds for every packet, whatever came before. `remote`, `rank`: as they
 * were when it came. */
static void check_promises(const struct world *w, unsigned from,
			   const struct packet_facts *p,
			   const struct learning_decision *d, int remote,
			   enum learning_rank remote_rank, bool was_silent)
{
	enum learning_rank rank = true_rank(w, from);
	bool heard =
		d->verdict == LEARNING_HEAR || d->verdict == LEARNING_CONFIRM;

	/* The remote is heard, and who is not the remote is not heard. */
	if (remote == (int)from)
		assert_int_equal(d->verdict, LEARNING_HEAR);
	else
		assert_int_not_equal(d->verdict, LEARNING_HEAR);
	/* STUN settles nobody. */
	if (p->kind == PACKET_STUN)
		assert_int_not_equal(d->verdict, LEARNING_CONFIRM);
	if (w->s.config.mode == LEARNING_FIRST_PACKET ||
	    p->kind == PACKET_STUN || remote == (int)from)
		return;
	/* The party takes its call back with its first packet. */
	if (rank == RANK_SDP)
		assert_true(heard);
	if (rank == RANK_KNOWN_IP &&
	    (remote < 0 || remote_rank > RANK_KNOWN_IP))
		assert_true(heard);
	/* A remote that speaks loses to nobody of the same rank or a worse one,
	 * and to no stranger in any way. */
	if (remote >= 0 && !was_silent &&
	    (rank >= remote_rank || rank > RANK_KNOWN_IP))
		assert_int_equal(d->verdict, LEARNING_DROP);
	/* What a stranger sends is never forwarded at once, but for what moves
	 * with its SSRC, and RTCP that knows the SSRC. */
	if (rank == RANK_STRANGER && heard && d->rule != RULE_REBIND)
		assert_true(has_proved(w, from, p));
}

static bool keep_candidates(const struct held_packet *packet, void *arg)
{
	return learning_is_candidate(arg, &packet->source);
}

static void check_state(struct world *w)
{
	struct learning *l = &w->s.l;
	const struct endpoint *to = learning_destination(
		l, &w->s.config, &w->s.sdp, false, w->s.facts.now_us);

	/* Sent to the remote that the oracle knows, or not at all. */
	if (w->remote < 0)
		assert_null(to);
	else
		assert_true(endpoint_equal(to, &w->sources[w->remote]));
	if (to)
		assert_false(learning_is_candidate(l, to));
	assert_true(w->held.count <= LEARNING_HELD_MAX);
}

static void step_packet(struct world *w)
{
	unsigned from =
		(w->first_talker + next_random(w, w->talkers)) % SOURCES;
	struct packet_facts p = random_packet(w, from);
	struct learning before = w->s.l;
	bool was_open = rank_3_is_open(w);
	struct learning_decision d;
	enum learning_rank remote_rank;
	bool was_silent;
	int remote;

	forget_silent(w);
	remote = w->remote;
	remote_rank = w->remote_rank;
	was_silent = w->s.facts.now_us >= w->remote_media_us + SILENCE;
	if (w->remote < 0 && was_open && true_rank(w, from) == RANK_STRANGER &&
	    p.kind != PACKET_STUN && p.kind != PACKET_RTCP)
		note_history(w, from, &p);
	d = learning_judge(&w->s.l, &w->s.facts, &w->sources[from], &p);
	check_promises(w, from, &p, &d, remote, remote_rank, was_silent);
	switch (d.verdict) {
	case LEARNING_CONFIRM:
		assert_true(p.kind != PACKET_STUN);
		check_confirmation(w, from, &p, d.rule);
		note_remote_media(w, &p);
		held_clear(&w->held, &w->budget);
		break;
	case LEARNING_HEAR:
		assert_int_equal(w->remote, from);
		note_remote_media(w, &p);
		break;
	case LEARNING_HOLD:
		assert_true(was_open && w->remote < 0);
		assert_int_equal(true_rank(w, from), RANK_STRANGER);
		held_keep(&w->held, &w->budget, keep_candidates, &w->s.l);
		held_add(&w->held, &w->budget, &w->sources[from], &p, "x", 1,
			 w->s.facts.now_us);
		break;
	case LEARNING_PASS:
		assert_int_equal(p.kind, PACKET_STUN);
		assert_true(true_rank(w, from) < RANK_STRANGER);
		break;
	case LEARNING_DROP:
		assert_true(w->remote != (int)from);
		break;
	}
	if (p.kind == PACKET_STUN && w->s.l.component == COMPONENT_RTP)
		assert_memory_equal(&before, &w->s.l, sizeof(before));
}

static void step_tick(struct world *w)
{
	if (learning_tick(&w->s.l, &w->s.facts)) {
		for (unsigned i = 0; i < SOURCES; i++)
			if (endpoint_equal(&w->sources[i], &w->s.l.remote)) {
				check_confirmation(w, i, NULL, RULE_PROVED);
				break;
			}
		w->remote_media_us = w->s.facts.now_us;
		held_clear(&w->held, &w->budget);
	}
	held_keep(&w->held, &w->budget, keep_candidates, &w->s.l);
}

static void step_new_sdp(struct world *w)
{
	unsigned before = w->sdp;

	w->sdp = next_random(w, 2) ? 0 : 11;
	forget_silent(w);
	/* Learning may not have noticed the silence: it is a remote for it. */
	if (ip_is_set(&w->s.l.remote.ip)) {
		w->replaced[1] = w->replaced[0];
		w->replaced[0] = (struct replaced){-1, (int)before};
		for (int i = 0; i < SOURCES; i++)
			if (endpoint_equal(&w->sources[i], &w->s.l.remote))
				w->replaced[0].remote = i;
	}
	for (unsigned i = 0; i < LEARNING_REPLACED; i++)
		if (w->replaced[i].sdp == (int)w->sdp)
			w->replaced[i].remote = -1;
	new_sdp(&w->s, source_names[w->sdp]);
	held_clear(&w->held, &w->budget);
	reset_history(w);
	w->remote = -1;
}

static void step_other_talkers(struct world *w)
{
	w->first_talker = next_random(w, SOURCES);
	w->talkers = 1 + next_random(w, SOURCES / 2);
}

static void begin(struct world *w, enum component component,
		  enum learning_mode mode, uint64_t seed)
{
	start(&w->s, component);
	w->s.config.mode = mode;
	w->s.config.rtcp_forget_us = 1500000;
	if (seed % 2)
		w->s.known[w->s.known_count++] = (struct learning_known){
			endpoint("192.0.2.70:1").ip, RANK_PROVED_IP};
	w->s.facts.known_count = w->s.known_count;
	if (component == COMPONENT_RTCP && seed % 3 > 0) {
		w->s.facts.has_rtp_ssrc = true;
		w->s.facts.rtp_ssrc = RTP_SSRC;
	}
	w->s.facts.opened_us = 0;
	w->s.facts.now_us = START;
	w->random = seed * 0x9e3779b97f4a7c15u;
	w->remote = -1;
	for (unsigned i = 0; i < LEARNING_REPLACED; i++)
		w->replaced[i] = (struct replaced){-1, -1};
	for (unsigned i = 0; i < SOURCES; i++)
		w->sources[i] = endpoint(source_names[i]);
}

static void run(struct world *w, uint64_t seed)
{
	unsigned busy = 1 + (unsigned)seed % SOURCES;

	step_other_talkers(w);
	for (unsigned i = 0; i < STEPS; i++) {
		uint32_t what = next_random(w, 400);

		w->s.facts.now_us += next_random(w, 40000 / busy);
		if (next_random(w, 30) == 0)
			w->s.facts.now_us += 350000;
		if (what == 0)
			step_new_sdp(w);
		else if (what == 1 && w->s.facts.opened_us == 0)
			w->s.facts.opened_us = w->s.facts.now_us;
		else if (what == 2)
			w->s.facts.resumed_us = w->s.facts.now_us;
		else if (what < 6)
			step_other_talkers(w);
		else if (what < 40)
			step_tick(w);
		else
			step_packet(w);
		forget_silent(w);
		check_state(w);
	}
	held_clear(&w->held, &w->budget);
	assert_int_equal(w->budget.bytes, 0);
}

static unsigned run_all(enum component component, enum learning_mode mode,
			unsigned confirmed[])
{
	unsigned forgotten = 0, came_back = 0;

	for (uint64_t seed = 1; seed <= SEEDS; seed++) {
		static struct world w;

		memset(&w, 0, sizeof(w));
		begin(&w, component, mode, seed);
		run(&w, seed);
		for (unsigned rule = 0; rule <= RULE_ICE; rule++)
			confirmed[rule] += w.confirmed[rule];
		forgotten += w.forgotten;
		came_back += w.came_back;
	}
	if (mode == LEARNING_SAFE)
		assert_true(came_back > 20);
	return forgotten;
}

static void test_safe_learning_keeps_its_promises_for_any_packets(void **state)
{
	unsigned confirmed[RULE_ICE + 1] = {0};

	(void)state;
	run_all(COMPONENT_RTP, LEARNING_SAFE, confirmed);
	/* The sequences did reach all rules. */
	assert_true(confirmed[RULE_SDP] > 100);
	assert_true(confirmed[RULE_KNOWN_IP] > 100);
	assert_true(confirmed[RULE_PROVED] > 100);
	assert_true(confirmed[RULE_REBIND] > 100);
}

static void test_rtcp_learning_keeps_its_promises_too(void **state)
{
	unsigned confirmed[RULE_ICE + 1] = {0};

	(void)state;
	assert_true(run_all(COMPONENT_RTCP, LEARNING_SAFE, confirmed) > 50);
	assert_true(confirmed[RULE_SDP] > 100);
	assert_true(confirmed[RULE_KNOWN_IP] > 100);
	assert_true(confirmed[RULE_PROVED] > 50);
	assert_true(confirmed[RULE_REBIND] > 50);
}

static void test_strict_learning_never_hears_a_stranger(void **state)
{
	unsigned confirmed[RULE_ICE + 1] = {0};

	(void)state;
	run_all(COMPONENT_RTP, LEARNING_STRICT, confirmed);
	assert_true(confirmed[RULE_SDP] > 100);
	assert_int_equal(confirmed[RULE_PROVED], 0);
}

static void test_first_packet_learning_settles_once(void **state)
{
	unsigned confirmed[RULE_ICE + 1] = {0};

	(void)state;
	run_all(COMPONENT_RTP, LEARNING_FIRST_PACKET, confirmed);
	assert_true(confirmed[RULE_FIRST_PACKET] > 100);
	assert_int_equal(confirmed[RULE_SDP], 0);
	assert_int_equal(confirmed[RULE_PROVED], 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			test_safe_learning_keeps_its_promises_for_any_packets),
		cmocka_unit_test(test_rtcp_learning_keeps_its_promises_too),
		cmocka_unit_test(test_strict_learning_never_hears_a_stranger),
		cmocka_unit_test(test_first_packet_learning_settles_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
