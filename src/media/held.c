#include "media/held.h"

#include <stdlib.h>
#include <string.h>

#include "media/learning.h"

static size_t cost(size_t len)
{
	return sizeof(struct held_packet) + len;
}

struct held_packet *held_take(struct held *held)
{
	struct held_packet *packet = held->first;

	if (packet) {
		held->first = packet->next;
		held->count--;
	}
	return packet;
}

void held_packet_free(struct held_packet *packet, struct held_budget *budget)
{
	budget->bytes -= cost(packet->len);
	free(packet);
}

unsigned held_add(struct held *held, struct held_budget *budget,
		  const struct endpoint *source,
		  const struct packet_facts *facts, const void *data,
		  size_t len, uint64_t now_us)
{
	struct held_packet **end = &held->first;
	struct held_packet *packet;
	unsigned lost = 0;

	if (len > HELD_MOST_LEN || budget->bytes + cost(len) > HELD_MOST_BYTES)
		return 1;
	packet = malloc(cost(len));
	if (!packet)
		return 1;
	if (held->count == LEARNING_HELD_MAX) {
		held_packet_free(held_take(held), budget);
		lost = 1;
	}

	*packet = (struct held_packet){.source = *source,
				       .facts = *facts,
				       .arrived_us = now_us,
				       .len = len};
	if (len > 0)
		memcpy(packet->data, data, len);
	budget->bytes += cost(len);
	while (*end)
		end = &(*end)->next;
	*end = packet;
	held->count++;
	return lost;
}

unsigned held_keep(struct held *held, struct held_budget *budget,
		   held_keep_h *keep, void *arg)
{
	struct held_packet **at = &held->first;
	unsigned dropped = 0;

	while (*at) {
		struct held_packet *packet = *at;

		if (keep(packet, arg)) {
			at = &packet->next;
			continue;
		}
		*at = packet->next;
		held->count--;
		held_packet_free(packet, budget);
		dropped++;
	}
	return dropped;
}

static bool keep_none(const struct held_packet *packet, void *arg)
{
	(void)packet;
	(void)arg;
	return false;
}

unsigned held_clear(struct held *held, struct held_budget *budget)
{
	return held_keep(held, budget, keep_none, NULL);
}
