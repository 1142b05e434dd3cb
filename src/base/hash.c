#include "base/hash.h"

#include <assert.h>
#include <errno.h>
#include <sys/random.h>

#define FIRST_SIZE 64

int hash_init(struct hash_table *table)
{
	*table = (struct hash_table){.size = FIRST_SIZE};
	table->buckets = calloc(FIRST_SIZE, sizeof(struct hash_node *));
	if (!table->buckets)
		return -ENOMEM;
	/* Up to 256 bytes getrandom() is never interrupted or short. */
	if (getrandom(table->key, sizeof(table->key), 0) < 0)
		table->key[0] = (uintptr_t)table->buckets;
	return 0;
}

void hash_done(struct hash_table *table)
{
	free(table->buckets);
	*table = (struct hash_table){0};
}

static inline uint64_t rotl(uint64_t x, int bits)
{
	return x << bits | x >> (64 - bits);
}

static inline void sip_round(uint64_t v[4])
{
	v[0] += v[1];
	v[1] = rotl(v[1], 13) ^ v[0];
	v[0] = rotl(v[0], 32);
	v[2] += v[3];
	v[3] = rotl(v[3], 16) ^ v[2];
	v[0] += v[3];
	v[3] = rotl(v[3], 21) ^ v[0];
	v[2] += v[1];
	v[1] = rotl(v[1], 17) ^ v[2];
	v[2] = rotl(v[2], 32);
}

/* SipHash (Aumasson, Bernstein, 2012) with 1 and 3 rounds. */
uint64_t hash_span(const struct hash_table *table, struct span key)
{
	uint64_t v[4] = {table->key[0] ^ 0x736f6d6570736575u,
			 table->key[1] ^ 0x646f72616e646f6du,
			 table->key[0] ^ 0x6c7967656e657261u,
			 table->key[1] ^ 0x7465646279746573u};
	size_t whole = key.len & ~(size_t)7;
	uint64_t word;

	for (size_t i = 0; i < whole; i += 8) {
		memcpy(&word, key.ptr + i, 8);
		v[3] ^= word;
		sip_round(v);
		v[0] ^= word;
	}
	word = 0;
	if (key.len > whole)
		memcpy(&word, key.ptr + whole, key.len - whole);
	word |= (uint64_t)key.len << 56;
	v[3] ^= word;
	sip_round(v);
	v[0] ^= word;
	v[2] ^= 0xff;
	sip_round(v);
	sip_round(v);
	sip_round(v);
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}

static struct hash_node **bucket_of(const struct hash_table *table,
				    uint64_t hash)
{
	return &table->buckets[hash & (table->size - 1)];
}

static void grow(struct hash_table *table)
{
	struct hash_table bigger = *table;

	bigger.size = table->size * 2;
	bigger.buckets = calloc(bigger.size, sizeof(struct hash_node *));
	if (!bigger.buckets)
		return;
	hash_for_each_safe (node, table) {
		struct hash_node **bucket = bucket_of(&bigger, node->hash);

		node->next = *bucket;
		*bucket = node;
	}
	free(table->buckets);
	*table = bigger;
}

void hash_add(struct hash_table *table, struct hash_node *node, uint64_t hash)
{
	struct hash_node **bucket;

	if (table->count >= table->size)
		grow(table);
	bucket = bucket_of(table, hash);
	node->hash = hash;
	node->next = *bucket;
	*bucket = node;
	table->count++;
}

void hash_del(struct hash_table *table, struct hash_node *node)
{
	struct hash_node **at = bucket_of(table, node->hash);

	while (*at && *at != node)
		at = &(*at)->next;
	assert(*at == node);
	*at = node->next;
	node->next = NULL;
	table->count--;
}

static struct hash_node *same_hash(struct hash_node *node, uint64_t hash)
{
	while (node && node->hash != hash)
		node = node->next;
	return node;
}

struct hash_node *hash_first(const struct hash_table *table, uint64_t hash)
{
	return same_hash(*bucket_of(table, hash), hash);
}

struct hash_node *hash_next(const struct hash_node *node)
{
	return same_hash(node->next, node->hash);
}
