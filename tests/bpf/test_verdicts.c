/** @file tests/bpf/test_verdicts.c  What goes up to the socket, and why */
#include "bpf_scene.h"

#include <string.h>

static const uint8_t payload[20] = {0x80, 0, 0, 1};

static struct frame_spec good(int family)
{
	struct way way = scene_way(family);

	return scene_sent(family, &way, payload, sizeof(payload));
}

/* A good frame to be spoilt; the IP header begins at *ret_ip. */
static size_t good_frame(int family, uint8_t *frame, uint8_t **ret_ip)
{
	struct frame_spec sent = good(family);

	*ret_ip = frame + frame_spec_ip_at(&sent);
	return frame_spec_build(&sent, frame);
}

/* ---- no flow ---- */

static void no_flow(struct scene *s, enum scene_program program, int family)
{
	struct frame_spec sent = good(family);

	*scene_flow_hop(s, family) = FLOW_HOP_UP;
	scene_expect_spec_up(s, program, &sent, SCENE_NO_STAT);
}

static void test_a_port_without_a_flow(void **state)
{
	scene_each(state, no_flow);
}

static void other_ports(struct scene *s, enum scene_program program, int family)
{
	static const uint16_t ports[] = {
		0,
		1,
		SCENE_FIRST_PORT - 1,
		SCENE_FIRST_PORT,
		SCENE_PORT - 1,
		SCENE_PORT + 1,
		SCENE_FIRST_PORT + SCENE_PORTS - 1,
		SCENE_FIRST_PORT + SCENE_PORTS,
		/* That port with its bytes exchanged. */
		(uint16_t)(SCENE_PORT >> 8 | (SCENE_PORT & 0xff) << 8),
		65535,
	};
	struct frame_spec sent = good(family);

	for (size_t i = 0; i < sizeof(ports) / sizeof(ports[0]); i++) {
		sent.dst_port = ports[i];
		scene_expect_spec_up(s, program, &sent, SCENE_NO_STAT);
	}
	/* More ports than the maps have: nobody counts on it, nothing breaks.
	 */
	s->control->port_count = 65536;
	sent.dst_port = SCENE_FIRST_PORT + SCENE_PORTS;
	scene_expect_spec_up(s, program, &sent, SCENE_NO_STAT);
	/* Fewer, and the first that is not one of them. */
	s->control->port_count = SCENE_INDEX;
	sent.dst_port = SCENE_PORT;
	scene_expect_spec_up(s, program, &sent, SCENE_NO_STAT);
	/* Nobody has filled the maps yet. */
	memset(s->control, 0, sizeof(*s->control));
	scene_expect_spec_up(s, program, &sent, SCENE_NO_STAT);
}

static void test_a_port_that_is_not_of_the_relay(void **state)
{
	scene_each(state, other_ports);
}

static void other_local(struct scene *s, enum scene_program program, int family)
{
	struct frame_spec sent = good(family);

	for (size_t i = 0; i < address_len(family); i++) {
		sent.dst[i] ^= 0x01;
		scene_expect_spec_up(s, program, &sent, SCENE_NO_STAT);
		sent.dst[i] ^= 0x01;
	}
}

static void test_another_address_of_ours(void **state)
{
	scene_each(state, other_local);
}

/* ---- a flow whose way cannot be gone ---- */

static void no_hop(struct scene *s, enum scene_program program, int family)
{
	struct frame_spec sent = good(family);

	*scene_flow_hop(s, family) = FLOW_HOP_NOWHERE;
	scene_expect_spec_up(s, program, &sent, FLOW_UP_NO_HOP);
	*scene_flow_hop(s, family) = FLOW_HOPS;
	scene_expect_spec_up(s, program, &sent, FLOW_UP_NO_HOP);
	*scene_flow_hop(s, family) = 0xffff;
	scene_expect_spec_up(s, program, &sent, FLOW_UP_NO_HOP);
	*scene_flow_hop(s, family) = SCENE_HOP;
	s->hops[SCENE_HOP].mtu = 0;
	scene_expect_spec_up(s, program, &sent, FLOW_UP_NO_HOP);
}

static void test_a_next_hop_that_is_not_known(void **state)
{
	scene_each(state, no_hop);
}

static void no_device(struct scene *s, enum scene_program program, int family)
{
	static const uint16_t devices[] = {FLOW_DEVICE_NONE, SCENE_DEVICE + 1,
					   FLOW_DEVICES};
	struct way way = scene_way(family);
	struct frame_spec sent = good(family);

	for (unsigned i = 0; i < 3; i++) {
		s->hops[SCENE_HOP].device = devices[i];
		if (program == SCENE_XDP)
			scene_expect_spec_up(s, program, &sent, FLOW_UP_NO_HOP);
		else
			scene_expect_forwarded(s, program, &sent, &way);
	}
}

static void test_xdp_without_a_device_to_send_through(void **state)
{
	scene_each(state, no_device);
}

static void last_ttl(struct scene *s, enum scene_program program, int family)
{
	struct frame_spec sent = good(family);

	sent.ttl = 1;
	scene_expect_spec_up(s, program, &sent, FLOW_UP_TTL);
	sent.ttl = 0;
	scene_expect_spec_up(s, program, &sent, FLOW_UP_TTL);
}

static void test_a_ttl_that_ends_here(void **state)
{
	scene_each(state, last_ttl);
}

static void too_long(struct scene *s, enum scene_program program, int family)
{
	uint8_t bytes[SCENE_MTU] = {0};
	struct frame_spec sent = good(family);

	sent.payload = bytes;
	sent.payload_len = 0;
	sent.payload_len = SCENE_MTU + 1 - frame_spec_ip_len(&sent);
	scene_expect_spec_up(s, program, &sent, FLOW_UP_MTU);
}

static void test_one_byte_more_than_the_mtu(void **state)
{
	scene_each(state, too_long);
}

static void no_lease(struct scene *s, enum scene_program program, int family)
{
	struct way way = scene_way(family);
	struct frame_spec sent = good(family);

	s->control->lease_ns = 0;
	scene_expect_spec_up(s, program, &sent, FLOW_UP_LEASE);
	s->control->lease_ns = scene_now_ns() - 1000000000;
	scene_expect_spec_up(s, program, &sent, FLOW_UP_LEASE);
	/* Strangers' as well: there is nobody to protect. */
	sent.src_port++;
	for (unsigned i = 0; i < 3 * FLOW_BUCKET_BURST; i++)
		scene_expect_spec_up(s, program, &sent, FLOW_UP_LEASE);
	sent.src_port--;
	s->control->lease_ns = scene_now_ns() + 1000000000;
	scene_expect_forwarded(s, program, &sent, &way);
}

static void test_a_lease_that_has_run_out(void **state)
{
	scene_each(state, no_lease);
}

static void test_tc_several_packets_in_one(void **state)
{
	struct scene *s = scene_of(state);

	for (int family = 4; family <= 6; family += 2) {
		struct frame_spec sent = good(family);

		s->gso_size = 10;
		scene_expect_spec_up(s, SCENE_TC, &sent, FLOW_UP_OFFLOAD);
	}
}

/* ---- not for us to look at ---- */

static void other_macs(struct scene *s, enum scene_program program, int family)
{
	static const uint8_t macs[][6] = {
		{0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
		{0x01, 0x00, 0x5e, 0, 0, 1},
		{0x33, 0x33, 0, 0, 0, 1},
		{0x02, 0, 0, 0, 0, 1}, /* another host's */
	};
	struct frame_spec sent = good(family);

	/* XDP sees no pkt_type. A card lets other hosts' frames through only
	 * while somebody listens (promiscuous). */
	for (unsigned i = 0; i < (program == SCENE_XDP ? 3 : 4); i++) {
		memcpy(sent.dst_mac, macs[i], 6);
		scene_expect_spec_up(s, program, &sent, SCENE_NO_STAT);
	}
}

static void test_frames_for_many_or_for_others(void **state)
{
	scene_each(state, other_macs);
}

static void other_protocols(struct scene *s, enum scene_program program,
			    int family)
{
	uint8_t frame[FRAME_MOST], *ip;
	size_t len = good_frame(family, frame, &ip);
	uint8_t *protocol = ip + (family == 4 ? 9 : 6);

	for (unsigned p = 0; p < 256; p++) {
		unsigned stat = SCENE_NO_STAT;

		if (p == 17)
			continue;
		if (family == 6 && p == 44)
			stat = FLOW_UP_FRAGMENT;
		if (family == 6 && (p == 0 || p == 43 || p == 60))
			stat = FLOW_UP_OPTIONS;
		*protocol = (uint8_t)p;
		scene_expect_up(s, program, frame, len, stat);
	}
}

static void test_every_protocol_but_udp(void **state)
{
	scene_each(state, other_protocols);
}

static void other_ethertypes(struct scene *s, enum scene_program program,
			     int family)
{
	static const uint16_t types[] = {0x0806, 0x88a8, 0x9100, 0x8863, 0x8864,
					 0x8847, 0x88cc, 0x88e5, 0x0000, 0x05dc,
					 0x0008, 0xdd86, 0x0081, 0xffff};
	uint8_t frame[FRAME_MOST], *ip;
	size_t len = good_frame(family, frame, &ip);

	for (unsigned i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		put16(frame + 12, types[i]);
		scene_expect_up(s, program, frame, len, SCENE_NO_STAT);
	}
	/* The other family's. */
	put16(frame + 12, family == 4 ? 0x86dd : 0x0800);
	scene_expect_up(s, program, frame, len, SCENE_NO_STAT);
}

static void test_every_ethertype_but_ip(void **state)
{
	scene_each(state, other_ethertypes);
}

static void versions(struct scene *s, enum scene_program program, int family)
{
	uint8_t frame[FRAME_MOST], *ip;
	size_t len = good_frame(family, frame, &ip);

	for (unsigned version = 0; version < 16; version++) {
		if (version == (unsigned)family)
			continue;
		ip[0] = (uint8_t)(version << 4 | (ip[0] & 0x0f));
		scene_expect_up(s, program, frame, len, SCENE_NO_STAT);
	}
}

static void test_every_version_but_that_of_the_ethertype(void **state)
{
	scene_each(state, versions);
}

/* Two tags, of either kind each. */
static void double_tags(struct scene *s, enum scene_program program, int family)
{
	static const uint16_t kinds[] = {0x8100, 0x88a8};
	struct frame_spec sent = good(family);
	uint8_t once[FRAME_MOST], twice[FRAME_MOST];
	size_t len;

	sent.tagged = true;
	sent.tci = 5;
	len = frame_spec_build(&sent, once);
	memcpy(twice, once, 12);
	put16(twice + 14, 6);
	memcpy(twice + 16, once + 12, len - 12);
	for (unsigned i = 0; i < 4; i++) {
		put16(twice + 12, kinds[i % 2]);
		put16(twice + 16, kinds[i / 2]);
		scene_expect_up(s, program, twice, len + TAG_LEN,
				SCENE_NO_STAT);
	}
	put16(once + 12, 0x88a8);
	scene_expect_up(s, program, once, len, SCENE_NO_STAT);
}

static void test_two_tags_and_tags_of_providers(void **state)
{
	scene_each(state, double_tags);
}

/* The kernel has taken the outer tag off before TC; this is a second one. */
static void test_tc_a_tag_in_the_data(void **state)
{
	struct scene *s = scene_of(state);

	for (int family = 4; family <= 6; family += 2) {
		struct frame_spec sent = good(family);

		sent.tagged = true;
		sent.tci = 5;
		scene_expect_spec_up(s, SCENE_TC, &sent, SCENE_NO_STAT);
	}
}

/* ---- fragments, options, lengths ---- */

static void test_fragments_of_ipv4(void **state)
{
	/* More fragments; in the middle; the last; the reserved bit. */
	static const uint16_t frag_off[] = {0x2000, 0x6000, 0x2001, 0x20b9,
					    0x0001, 0x1fff, 0x4001, 0x8000};

	for (enum scene_program p = SCENE_XDP; p <= SCENE_TC; p++) {
		struct scene *s = scene_of(state);
		struct frame_spec sent = good(4);

		for (unsigned i = 0; i < 8; i++) {
			sent.frag_off = frag_off[i];
			scene_expect_spec_up(s, p, &sent, FLOW_UP_FRAGMENT);
		}
	}
}

/* As they are on the wire, with the header of the fragment or the options. */
static void test_ipv6_with_extension_headers(void **state)
{
	static const uint8_t kinds[] = {0, 43, 44, 60};

	for (enum scene_program p = SCENE_XDP; p <= SCENE_TC; p++) {
		struct scene *s = scene_of(state);
		uint8_t plain[FRAME_MOST], frame[FRAME_MOST], *ip;
		size_t len = good_frame(6, plain, &ip);
		size_t at = ETHERNET_LEN + 40;

		for (unsigned i = 0; i < sizeof(kinds); i++) {
			memcpy(frame, plain, at);
			memset(frame + at, 0, 8);
			frame[at] = 17;
			memcpy(frame + at + 8, plain + at, len - at);
			frame[ETHERNET_LEN + 6] = kinds[i];
			put16(frame + ETHERNET_LEN + 4,
			      (uint16_t)(len - at + 8));
			scene_expect_up(s, p, frame, len + 8,
					kinds[i] == 44 ? FLOW_UP_FRAGMENT
						       : FLOW_UP_OPTIONS);
		}
	}
}

static void test_options_of_ipv4(void **state)
{
	for (enum scene_program p = SCENE_XDP; p <= SCENE_TC; p++) {
		struct scene *s = scene_of(state);
		struct frame_spec sent = good(4);
		uint8_t plain[FRAME_MOST], frame[FRAME_MOST], *ip;
		size_t len = good_frame(4, plain, &ip);
		size_t at = ETHERNET_LEN + 20;

		for (size_t ihl = 6; ihl < 16; ihl++) {
			size_t options = 4 * (ihl - 5);

			memcpy(frame, plain, at);
			memset(frame + at, 1, options); /* NOP */
			memcpy(frame + at + options, plain + at, len - at);
			frame[ETHERNET_LEN] = (uint8_t)(0x40 | ihl);
			put16(frame + ETHERNET_LEN + 2,
			      (uint16_t)(len - ETHERNET_LEN + options));
			frame_sum_ip4(&sent, frame);
			scene_expect_up(s, p, frame, len + options,
					FLOW_UP_OPTIONS);
		}
	}
}

static void test_a_header_of_ipv4_that_is_too_short_for_one(void **state)
{
	for (enum scene_program p = SCENE_XDP; p <= SCENE_TC; p++) {
		struct scene *s = scene_of(state);
		uint8_t frame[FRAME_MOST], *ip;
		size_t len = good_frame(4, frame, &ip);

		for (unsigned ihl = 0; ihl < 5; ihl++) {
			ip[0] = (uint8_t)(0x40 | ihl);
			scene_expect_up(s, p, frame, len, FLOW_UP_MALFORMED);
		}
	}
}

static void lengths(struct scene *s, enum scene_program program, int family)
{
	struct frame_spec sent = good(family);
	uint8_t frame[FRAME_MOST];
	uint8_t *ip_len = frame + ETHERNET_LEN + (family == 4 ? 2 : 4);
	uint8_t *udp_len = frame + frame_spec_udp_at(&sent) + 4;
	unsigned good_ip, good_udp;
	size_t len;

	sent.padding = 30;
	len = frame_spec_build(&sent, frame);
	good_ip = get16(ip_len);
	good_udp = get16(udp_len);
	for (unsigned i = 0; i < 0x10000; i += i < 200 ? 1 : 211) {
		put16(udp_len, (uint16_t)i);
		if (i != good_udp)
			scene_expect_up(s, program, frame, len,
					FLOW_UP_MALFORMED);
		put16(udp_len, (uint16_t)good_udp);
		put16(ip_len, (uint16_t)i);
		if (i != good_ip)
			scene_expect_up(s, program, frame, len,
					FLOW_UP_MALFORMED);
		put16(ip_len, (uint16_t)good_ip);
	}
}

static void test_lengths_of_ip_and_udp_that_disagree(void **state)
{
	scene_each(state, lengths);
}

/* Both lengths agree, on more than is there. */
static void longer(struct scene *s, enum scene_program program, int family)
{
	struct frame_spec sent = good(family);
	uint8_t frame[FRAME_MOST];
	size_t len = frame_spec_build(&sent, frame);
	uint8_t *ip_len = frame + ETHERNET_LEN + (family == 4 ? 2 : 4);
	uint8_t *udp_len = frame + frame_spec_udp_at(&sent) + 4;

	for (unsigned i = 0; i < 64; i++) {
		put16(ip_len, (uint16_t)(get16(ip_len) + 1));
		put16(udp_len, (uint16_t)(get16(udp_len) + 1));
		scene_expect_up(s, program, frame, len, FLOW_UP_MALFORMED);
	}
}

static void test_a_packet_that_is_longer_than_its_frame(void **state)
{
	scene_each(state, longer);
}

/* RFC 8200, section 8.1: whoever receives one drops it. */
static void test_udp_over_ipv6_without_a_checksum(void **state)
{
	for (enum scene_program p = SCENE_XDP; p <= SCENE_TC; p++) {
		struct scene *s = scene_of(state);
		struct frame_spec sent = good(6);

		sent.no_checksum = true;
		scene_expect_spec_up(s, p, &sent, FLOW_UP_MALFORMED);
	}
}

/* ---- ICE ---- */

static uint8_t *flags_of(struct scene *s, int family)
{
	return family == 4 ? &s->flows4[SCENE_INDEX].flags
			   : &s->flows6[SCENE_INDEX].flags;
}

static void stun_up(struct scene *s, enum scene_program program, int family)
{
	static const uint8_t stun[20] = {0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42};
	struct way way = scene_way(family);
	struct frame_spec media = good(family);
	struct frame_spec check = scene_sent(family, &way, stun, sizeof(stun));

	uint8_t frame[FRAME_MOST];
	size_t len = frame_spec_build(&check, frame);

	assert_int_equal(scene_run(s, program, frame, len), SCENE_FORWARDED);
	*flags_of(s, family) |= FLOW_STUN_UP;
	scene_expect_spec_up(s, program, &check, FLOW_UP_STUN);
	scene_expect_forwarded(s, program, &media, &way);
}

static void test_with_ice_stun_of_the_remote_comes_up(void **state)
{
	scene_each(state, stun_up);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_port_without_a_flow),
		cmocka_unit_test(test_a_port_that_is_not_of_the_relay),
		cmocka_unit_test(test_another_address_of_ours),
		cmocka_unit_test(test_a_next_hop_that_is_not_known),
		cmocka_unit_test(test_xdp_without_a_device_to_send_through),
		cmocka_unit_test(test_a_ttl_that_ends_here),
		cmocka_unit_test(test_one_byte_more_than_the_mtu),
		cmocka_unit_test(test_a_lease_that_has_run_out),
		cmocka_unit_test(test_tc_several_packets_in_one),
		cmocka_unit_test(test_frames_for_many_or_for_others),
		cmocka_unit_test(test_every_protocol_but_udp),
		cmocka_unit_test(test_every_ethertype_but_ip),
		cmocka_unit_test(test_every_version_but_that_of_the_ethertype),
		cmocka_unit_test(test_two_tags_and_tags_of_providers),
		cmocka_unit_test(test_tc_a_tag_in_the_data),
		cmocka_unit_test(test_fragments_of_ipv4),
		cmocka_unit_test(test_ipv6_with_extension_headers),
		cmocka_unit_test(test_options_of_ipv4),
		cmocka_unit_test(
			test_a_header_of_ipv4_that_is_too_short_for_one),
		cmocka_unit_test(test_lengths_of_ip_and_udp_that_disagree),
		cmocka_unit_test(test_a_packet_that_is_longer_than_its_frame),
		cmocka_unit_test(test_udp_over_ipv6_without_a_checksum),
		cmocka_unit_test(test_with_ice_stun_of_the_remote_comes_up),
	};

	return cmocka_run_group_tests(tests, scene_start, scene_stop);
}
