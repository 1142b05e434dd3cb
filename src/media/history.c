#include "media/history.h"

#include <stddef.h>
#include <string.h>
#include <time.h>

#define READ_TRIES 1000 /* without a pause: as long as a write takes */
#define READ_PAUSES 10  /* for a worker that does not run just now */
#define PAUSE_NS 100000

_Static_assert(sizeof(struct history_counts) % sizeof(uint32_t) == 0 &&
		       sizeof(struct history_entry) % sizeof(uint32_t) == 0 &&
		       sizeof(struct history_facts) % sizeof(uint32_t) == 0 &&
		       offsetof(struct history_facts, counts) == 0,
	       "each part is made of whole words");

/* ---- both ---- */

static const uint8_t v4_mapped[12] = {[10] = 0xff, [11] = 0xff};

struct endpoint history_source(const struct history_entry *entry)
{
	static const uint8_t none[16];
	struct endpoint source = {.port = entry->port};

	if (memcmp(entry->ip, none, sizeof(none)) == 0)
		return (struct endpoint){0};
	if (memcmp(entry->ip, v4_mapped, sizeof(v4_mapped)) == 0) {
		source.ip.family = AF_INET;
		memcpy(source.ip.bytes, entry->ip + sizeof(v4_mapped), 4);
	} else {
		source.ip.family = AF_INET6;
		memcpy(source.ip.bytes, entry->ip, sizeof(entry->ip));
	}
	return source;
}

/* A part of the facts: whole words, as all of them are. */
static void get(const struct history *history, size_t offset, void *ret,
		size_t size)
{
	const _Atomic uint32_t *words =
		&history->words[offset / sizeof(uint32_t)];
	uint32_t copy[HISTORY_WORDS];

	for (size_t i = 0; i < size / sizeof(uint32_t); i++)
		copy[i] = atomic_load_explicit(&words[i], memory_order_acquire);
	memcpy(ret, copy, size);
}

/* ---- the worker ---- */

static struct history_facts own_facts(const struct history *history)
{
	struct history_facts facts;

	get(history, 0, &facts, sizeof(facts));
	return facts;
}

static void begin(struct history *history)
{
	uint32_t version =
		atomic_load_explicit(&history->version, memory_order_relaxed);

	atomic_store_explicit(&history->version, version + 1,
			      memory_order_relaxed);
}

/* Release keeps each word behind the version that says so, as in latch.h. */
static void put(struct history *history, size_t offset, const void *part,
		size_t size)
{
	_Atomic uint32_t *words = &history->words[offset / sizeof(uint32_t)];
	uint32_t copy[HISTORY_WORDS];

	memcpy(copy, part, size);
	for (size_t i = 0; i < size / sizeof(uint32_t); i++)
		atomic_store_explicit(&words[i], copy[i], memory_order_release);
}

static void end(struct history *history)
{
	uint32_t version =
		atomic_load_explicit(&history->version, memory_order_relaxed);

	atomic_store_explicit(&history->version, version + 1,
			      memory_order_release);
}

static void publish(struct history *history, const struct history_facts *facts)
{
	begin(history);
	put(history, 0, facts, sizeof(*facts));
	end(history);
}

static uint32_t add_up_to_max(uint32_t number, uint64_t more)
{
	return more < UINT32_MAX - number ? number + (uint32_t)more
					  : UINT32_MAX;
}

static void count_one(uint16_t *number)
{
	if (*number < UINT16_MAX)
		(*number)++;
}

static struct history_entry make_entry(enum history_kind kind, unsigned reason,
				       const struct endpoint *source,
				       uint32_t now_ms, uint64_t count)
{
	struct history_entry entry = {
		.first_ms = now_ms,
		.last_ms = now_ms,
		.count = add_up_to_max(0, count),
		.kind = (uint8_t)kind,
		.reason = (uint8_t)reason,
	};

	if (!source || !ip_is_set(&source->ip))
		return entry;
	entry.port = source->port;
	if (source->ip.family == AF_INET) {
		memcpy(entry.ip, v4_mapped, sizeof(v4_mapped));
		memcpy(entry.ip + sizeof(v4_mapped), source->ip.bytes, 4);
	} else {
		memcpy(entry.ip, source->ip.bytes, sizeof(entry.ip));
	}
	return entry;
}

/* Past the largest number that can be said, the ring goes on all the same. */
void history_decided(struct history *history, enum history_kind kind,
		     unsigned reason, const struct endpoint *source,
		     uint32_t now_ms, uint64_t count)
{
	struct history_facts facts = own_facts(history);
	const unsigned wrap =
		UINT16_MAX / HISTORY_DECISIONS * HISTORY_DECISIONS;

	facts.decided[facts.counts.decisions % HISTORY_DECISIONS] =
		make_entry(kind, reason, source, now_ms, count);
	facts.counts.decisions =
		(uint16_t)(facts.counts.decisions + 1u == wrap
				   ? wrap - HISTORY_DECISIONS
				   : facts.counts.decisions + 1u);
	publish(history, &facts);
}

static bool is_same(const struct history_entry *a,
		    const struct history_entry *b)
{
	return a->kind == b->kind && a->reason == b->reason &&
	       a->port == b->port && memcmp(a->ip, b->ip, sizeof(a->ip)) == 0;
}

/* A free place is one that nothing was counted at. Of two that had as much, the
 * one that is silent for longer goes. */
static bool goes_before(const struct history_entry *a,
			const struct history_entry *b)
{
	if (a->count != b->count)
		return a->count < b->count;
	return a->last_ms < b->last_ms;
}

static void put_refused(struct history *history, unsigned place,
			const struct history_entry *entry)
{
	put(history,
	    offsetof(struct history_facts, refused) + place * sizeof(*entry),
	    entry, sizeof(*entry));
}

/* A flood comes here with each packet: so not all is read and written. */
void history_refused(struct history *history, enum history_kind kind,
		     unsigned reason, const struct endpoint *source,
		     uint32_t now_ms, uint64_t count)
{
	struct history_entry entry =
		make_entry(kind, reason, source, now_ms, count);
	struct history_entry refused[HISTORY_REFUSALS];
	struct history_counts counts;
	unsigned place = 0;

	get(history, offsetof(struct history_facts, refused), refused,
	    sizeof(refused));
	for (unsigned i = 0; i < HISTORY_REFUSALS; i++) {
		if (is_same(&refused[i], &entry)) {
			entry.first_ms = refused[i].first_ms;
			entry.count = add_up_to_max(refused[i].count, count);
			begin(history);
			put_refused(history, i, &entry);
			end(history);
			return;
		}
		if (goes_before(&refused[i], &refused[place]))
			place = i;
	}
	get(history, 0, &counts, sizeof(counts));
	if (refused[place].kind != HISTORY_NONE)
		count_one(&counts.pushed_out);
	begin(history);
	put(history, 0, &counts, sizeof(counts));
	put_refused(history, place, &entry);
	end(history);
}

void history_silent(struct history *history, uint32_t from_ms, uint32_t to_ms)
{
	struct history_facts facts = own_facts(history);

	if (facts.counts.silences == 0 || facts.silence_from_ms != from_ms)
		count_one(&facts.counts.silences);
	facts.silence_from_ms = from_ms;
	facts.silence_to_ms = to_ms;
	publish(history, &facts);
}

void history_handed(struct history *history, uint32_t now_ms)
{
	struct history_facts facts = own_facts(history);

	if (facts.counts.handed == 0)
		facts.handed_ms = now_ms;
	count_one(&facts.counts.handed);
	publish(history, &facts);
}

/* ---- readers ---- */

static bool try_read(const struct history *history, struct history_facts *ret)
{
	uint32_t version =
		atomic_load_explicit(&history->version, memory_order_acquire);

	if (version & 1)
		return false;
	get(history, 0, ret, sizeof(*ret));
	return atomic_load_explicit(&history->version, memory_order_relaxed) ==
	       version;
}

bool history_read(const struct history *history, struct history_facts *ret)
{
	const struct timespec pause = {.tv_nsec = PAUSE_NS};

	for (unsigned i = 0; i < READ_PAUSES; i++) {
		for (unsigned j = 0; j < READ_TRIES; j++)
			if (try_read(history, ret))
				return true;
		(void)nanosleep(&pause, NULL);
	}
	*ret = (struct history_facts){0};
	return false;
}
