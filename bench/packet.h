#pragma once
/**
 * @file bench/packet.h  The packets of the rate measurement
 *
 * Shared by the BPF programs (generator, sink) and the user space that loads
 * them. Every packet is Ethernet, IPv4 without options, UDP, an RTP header and
 * PACKET_AUDIO bytes; the UDP payload is 172 bytes. The SSRC carries the number
 * of the flow, so that the far end can tell which flow a packet is of, whatever
 * became of its addresses.
 */
#include <linux/types.h>

#define PACKET_RTP 12
#define PACKET_AUDIO 160
#define PACKET_UDP (8 + PACKET_RTP + PACKET_AUDIO) /* with the UDP header */
#define PACKET_IP (20 + PACKET_UDP)
#define PACKET_FRAME (14 + PACKET_IP)

#define PACKET_FLOWS_MAX 65536
#define PACKET_SSRC 0x6d700000u /* and the number of the flow */

/** One direction of one call, in network byte order. */
struct packet_flow {
	__be32 source_be, destination_be;
	__be16 source_port_be, destination_port_be;
};

/** Where the generator is: of each CPU one. */
struct packet_position {
	__u64 sent;
	__u32 flow;  /* the next one */
	__u32 round; /* how often all flows had their turn */
};

/** What the far end saw: of each CPU one. */
struct packet_counters {
	__u64 packets, bytes; /* of the measurement; bytes of whole frames */
	__u64 other;          /* UDP that is none of the generator's */
	/* Only while it checks: */
	__u64 wrong_address;  /* not those that its flow has to have here */
	__u64 wrong_checksum; /* of IPv4 or UDP */
};
