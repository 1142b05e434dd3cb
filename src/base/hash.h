#pragma once
/**
 * @file base/hash.h  Hash tables whose nodes live inside the items
 *
 * SipHash-1-3 with a random key, since peers choose the keys (call-ids). The
 * table knows hashes only: the caller compares the items. Several items may
 * have the same hash.
 */
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/span.h"

struct hash_node {
	struct hash_node *next;
	uint64_t hash;
};

struct hash_table {
	struct hash_node **buckets;
	size_t size; /* a power of two */
	size_t count;
	uint64_t key[2];
};

/** Start with a random key. @return 0 or -ENOMEM */
int hash_init(struct hash_table *table);

/** Free the buckets; the items are the caller's. */
void hash_done(struct hash_table *table);

uint64_t hash_span(const struct hash_table *table, struct span key);

/** Add a node. It never fails: without memory to grow, chains get longer. */
void hash_add(struct hash_table *table, struct hash_node *node, uint64_t hash);

/** Delete a node that is in the table. */
void hash_del(struct hash_table *table, struct hash_node *node);

/** The first node with this hash, or NULL. */
struct hash_node *hash_first(const struct hash_table *table, uint64_t hash);

/** The next node with the same hash as this one, or NULL. */
struct hash_node *hash_next(const struct hash_node *node);

/** All nodes in some order; the body may delete the current node only. */
#define hash_for_each_safe(node, table)                                        \
	for (size_t node##_b_ = 0; node##_b_ < (table)->size; node##_b_++)     \
		for (struct hash_node *node = (table)->buckets[node##_b_],     \
				      *node##_next_;                           \
		     node && (node##_next_ = node->next, 1);                   \
		     node = node##_next_)

#define hash_item(node, type, member) container_of(node, type, member)
