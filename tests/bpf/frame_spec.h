#pragma once
/**
 * @file tests/bpf/frame_spec.h  Whole frames from a description
 *
 * Checksums are summed up over all that they cover, byte by byte, in big
 * endian: nothing here is shared with bpf/packet.h, which changes them by
 * differences.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FRAME_MOST 2048
#define ETHERNET_LEN 14
#define TAG_LEN 4
#define UDP_HEADER_LEN 8

/** A UDP datagram in an Ethernet frame; host byte order. */
struct frame_spec {
	int family; /* 4 or 6 */
	uint8_t dst_mac[6], src_mac[6];
	bool tagged;
	uint16_t tci;
	uint8_t tos, ttl;
	uint32_t flow_label;      /* IPv6 */
	uint16_t id, frag_off;    /* IPv4, frag_off with its flags */
	uint8_t src[16], dst[16]; /* IPv4: the first four bytes */
	uint16_t src_port, dst_port;
	bool no_checksum; /* UDP's is zero */
	const uint8_t *payload;
	size_t payload_len;
	size_t padding; /* zeros behind the IP packet */
};

/** @param frame  Room for FRAME_MOST bytes @return the frame's length */
size_t frame_spec_build(const struct frame_spec *spec, uint8_t *frame);

/** Where in the frame. */
size_t frame_spec_ip_at(const struct frame_spec *spec);
size_t frame_spec_udp_at(const struct frame_spec *spec);

/** Of the IP packet. */
size_t frame_spec_ip_len(const struct frame_spec *spec);

size_t address_len(int family);

/** As it stands in the frame, which was built of a spec like this one. */
uint16_t frame_udp_checksum(const struct frame_spec *spec,
			    const uint8_t *frame);

/** Whether IPv4's and UDP's checksums hold; no checksum of UDP holds in IPv4
 * only. */
bool frame_checksums_hold(const struct frame_spec *spec, const uint8_t *frame);

/** Write IPv4's header checksum again, after the header was changed. */
void frame_sum_ip4(const struct frame_spec *spec, uint8_t *frame);

/** Numbers that look random and are the same in every run. */
struct numbers {
	uint64_t state;
};

uint32_t numbers_next(struct numbers *n);
void numbers_fill(struct numbers *n, void *to, size_t len);

void put16(uint8_t *to, uint16_t value);
uint16_t get16(const uint8_t *from);
