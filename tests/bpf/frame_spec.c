#include "frame_spec.h"

#include <assert.h>
#include <string.h>

#define PROTOCOL_UDP 17

void put16(uint8_t *to, uint16_t value)
{
	to[0] = (uint8_t)(value >> 8);
	to[1] = (uint8_t)value;
}

uint16_t get16(const uint8_t *from)
{
	return (uint16_t)(from[0] << 8 | from[1]);
}

size_t address_len(int family)
{
	return family == 4 ? 4 : 16;
}

static size_t ip_header_len(int family)
{
	return family == 4 ? 20 : 40;
}

size_t frame_spec_ip_at(const struct frame_spec *spec)
{
	return ETHERNET_LEN + (spec->tagged ? TAG_LEN : 0);
}

size_t frame_spec_udp_at(const struct frame_spec *spec)
{
	return frame_spec_ip_at(spec) + ip_header_len(spec->family);
}

size_t frame_spec_ip_len(const struct frame_spec *spec)
{
	return ip_header_len(spec->family) + UDP_HEADER_LEN + spec->payload_len;
}

/* ---- checksums (RFC 1071) ---- */

static uint64_t sum_of(const uint8_t *bytes, size_t len)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < len; i++)
		sum += i % 2 ? bytes[i] : (uint64_t)bytes[i] << 8;
	return sum;
}

static uint16_t folded(uint64_t sum)
{
	while (sum > 0xffff)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)sum;
}

/* Over pseudo header, header and payload, with whatever checksum is there. */
static uint16_t udp_sum(const struct frame_spec *spec, const uint8_t *frame)
{
	const uint8_t *ip = frame + frame_spec_ip_at(spec);
	size_t udp_len = UDP_HEADER_LEN + spec->payload_len;
	size_t addresses = 2 * address_len(spec->family);
	const uint8_t *from = ip + (spec->family == 4 ? 12 : 8);

	return folded(sum_of(from, addresses) + PROTOCOL_UDP + udp_len +
		      sum_of(frame + frame_spec_udp_at(spec), udp_len));
}

uint16_t frame_udp_checksum(const struct frame_spec *spec, const uint8_t *frame)
{
	return get16(frame + frame_spec_udp_at(spec) + 6);
}

bool frame_checksums_hold(const struct frame_spec *spec, const uint8_t *frame)
{
	const uint8_t *ip = frame + frame_spec_ip_at(spec);

	if (spec->family == 4 && folded(sum_of(ip, 20)) != 0xffff)
		return false;
	if (frame_udp_checksum(spec, frame) == 0)
		return spec->family == 4;
	return udp_sum(spec, frame) == 0xffff;
}

void frame_sum_ip4(const struct frame_spec *spec, uint8_t *frame)
{
	uint8_t *ip = frame + frame_spec_ip_at(spec);
	size_t len = 4u * (ip[0] & 0x0fu);

	put16(ip + 10, 0);
	put16(ip + 10, (uint16_t)~folded(sum_of(ip, len)));
}

/* ---- building ---- */

static void build_ip4(const struct frame_spec *spec, uint8_t *frame)
{
	uint8_t *ip = frame + frame_spec_ip_at(spec);

	ip[0] = 0x45;
	ip[1] = spec->tos;
	put16(ip + 2, (uint16_t)frame_spec_ip_len(spec));
	put16(ip + 4, spec->id);
	put16(ip + 6, spec->frag_off);
	ip[8] = spec->ttl;
	ip[9] = PROTOCOL_UDP;
	memcpy(ip + 12, spec->src, 4);
	memcpy(ip + 16, spec->dst, 4);
	frame_sum_ip4(spec, frame);
}

static void build_ip6(const struct frame_spec *spec, uint8_t *frame)
{
	uint8_t *ip = frame + frame_spec_ip_at(spec);

	ip[0] = (uint8_t)(0x60 | spec->tos >> 4);
	ip[1] = (uint8_t)(spec->tos << 4 | (int)(spec->flow_label >> 16 & 15));
	put16(ip + 2, (uint16_t)spec->flow_label);
	put16(ip + 4, (uint16_t)(UDP_HEADER_LEN + spec->payload_len));
	ip[6] = PROTOCOL_UDP;
	ip[7] = spec->ttl;
	memcpy(ip + 8, spec->src, 16);
	memcpy(ip + 24, spec->dst, 16);
}

static void build_udp(const struct frame_spec *spec, uint8_t *frame)
{
	uint8_t *udp = frame + frame_spec_udp_at(spec);
	uint16_t check;

	put16(udp, spec->src_port);
	put16(udp + 2, spec->dst_port);
	put16(udp + 4, (uint16_t)(UDP_HEADER_LEN + spec->payload_len));
	put16(udp + 6, 0);
	if (spec->payload_len > 0)
		memcpy(udp + UDP_HEADER_LEN, spec->payload, spec->payload_len);
	if (spec->no_checksum)
		return;
	check = (uint16_t)~udp_sum(spec, frame);
	put16(udp + 6, check ? check : 0xffff);
}

size_t frame_spec_build(const struct frame_spec *spec, uint8_t *frame)
{
	size_t ip_at = frame_spec_ip_at(spec);
	size_t len = ip_at + frame_spec_ip_len(spec) + spec->padding;

	assert(len <= FRAME_MOST);
	memset(frame, 0, len);
	memcpy(frame, spec->dst_mac, 6);
	memcpy(frame + 6, spec->src_mac, 6);
	if (spec->tagged) {
		put16(frame + 12, 0x8100);
		put16(frame + 14, spec->tci);
	}
	put16(frame + ip_at - 2, spec->family == 4 ? 0x0800 : 0x86dd);
	if (spec->family == 4)
		build_ip4(spec, frame);
	else
		build_ip6(spec, frame);
	build_udp(spec, frame);
	return len;
}

/* ---- numbers (splitmix64) ---- */

uint32_t numbers_next(struct numbers *n)
{
	uint64_t z = n->state += 0x9e3779b97f4a7c15;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return (uint32_t)(z >> 32);
}

void numbers_fill(struct numbers *n, void *to, size_t len)
{
	uint8_t *bytes = to;

	for (size_t i = 0; i < len; i++)
		bytes[i] = (uint8_t)numbers_next(n);
}
