#include "media/kernel/hop_table.h"

#include <errno.h>
#include <string.h>

#include "base/hash.h"
#include "base/list.h"

struct entry {
	struct hash_node node; /* while it has users or rests */
	struct list link;      /* of the free or the resting ones */
	struct flow_hop hop;
	uint32_t users;
	uint64_t rests_until_us;
};

struct hop_table {
	hop_write_h *write;
	void *arg;
	struct hash_table by_hop;
	struct list free, resting; /* the resting: the earliest first */
	struct hop_table_counts counts;
	struct entry entries[FLOW_HOPS];
};

int hop_table_new(struct hop_table **ret, hop_write_h *write, void *arg)
{
	const struct flow_hop nowhere = {.device = FLOW_DEVICE_NONE};
	struct hop_table *table = calloc(1, sizeof(*table));

	if (!table)
		return -ENOMEM;
	if (hash_init(&table->by_hop) < 0) {
		free(table);
		return -ENOMEM;
	}
	table->write = write;
	table->arg = arg;
	list_init(&table->free);
	list_init(&table->resting);
	for (uint16_t i = FLOW_HOP_FIRST; i < FLOW_HOPS; i++)
		list_add_tail(&table->free, &table->entries[i].link);
	write(FLOW_HOP_NOWHERE, &nowhere, arg);
	*ret = table;
	return 0;
}

struct hop_table *hop_table_free(struct hop_table *table)
{
	if (table)
		hash_done(&table->by_hop);
	free(table);
	return NULL;
}

static uint16_t index_of(const struct hop_table *table,
			 const struct entry *entry)
{
	return (uint16_t)(entry - table->entries);
}

static struct entry *find(struct hop_table *table, const struct flow_hop *hop,
			  uint64_t hash)
{
	struct hash_node *node = hash_first(&table->by_hop, hash);

	for (; node; node = hash_next(node)) {
		struct entry *entry = hash_item(node, struct entry, node);

		if (memcmp(&entry->hop, hop, sizeof(*hop)) == 0)
			return entry;
	}
	return NULL;
}

static void free_rested(struct hop_table *table, uint64_t now_us)
{
	struct list *link;

	while ((link = list_first(&table->resting))) {
		struct entry *entry = list_item(link, struct entry, link);

		if (entry->rests_until_us > now_us)
			return;
		list_del(link);
		hash_del(&table->by_hop, &entry->node);
		list_add_tail(&table->free, link);
		table->counts.resting--;
	}
}

static struct entry *make(struct hop_table *table, const struct flow_hop *hop,
			  uint64_t hash)
{
	struct list *link = list_first(&table->free);
	struct entry *entry;

	if (!link) {
		table->counts.full++;
		return NULL;
	}
	entry = list_item(link, struct entry, link);
	list_del(link);
	entry->hop = *hop;
	hash_add(&table->by_hop, &entry->node, hash);
	table->write(index_of(table, entry), hop, table->arg);
	return entry;
}

uint16_t hop_table_take(struct hop_table *table, const struct flow_hop *hop,
			uint64_t now_us)
{
	uint64_t hash = hash_span(&table->by_hop,
				  span_make((const char *)hop, sizeof(*hop)));
	struct entry *entry;

	free_rested(table, now_us);
	entry = find(table, hop, hash);
	if (!entry)
		entry = make(table, hop, hash);
	if (!entry)
		return FLOW_HOP_NOWHERE;
	if (entry->users == 0) {
		if (!list_empty(&entry->link)) {
			list_del(&entry->link);
			table->counts.resting--;
		}
		table->counts.used++;
	}
	entry->users++;
	return index_of(table, entry);
}

void hop_table_put(struct hop_table *table, uint16_t index, uint64_t now_us)
{
	struct entry *entry = &table->entries[index];

	if (index < FLOW_HOP_FIRST || --entry->users > 0)
		return;
	entry->rests_until_us = now_us + HOP_REST_US;
	list_add_tail(&table->resting, &entry->link);
	table->counts.used--;
	table->counts.resting++;
}

void hop_table_count(const struct hop_table *table,
		     struct hop_table_counts *ret)
{
	*ret = table->counts;
}
