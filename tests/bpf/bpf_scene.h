#pragma once
/**
 * @file tests/bpf/bpf_scene.h  The programs in the kernel, with one flow
 *
 * Loads the object, maps its arrays as the relay does, and runs a program over
 * one whole frame (BPF_PROG_TEST_RUN): nothing is attached and nothing sent.
 * The scene has one flow in each family, at port SCENE_PORT. Every test runs
 * for both programs and both families where that makes a difference.
 */
#include "test.h"

#include "bpf/flow_abi.h"
#include "frame_spec.h"

#define SCENE_FIRST_PORT 50000
#define SCENE_PORTS 16
#define SCENE_INDEX 4
#define SCENE_PORT (SCENE_FIRST_PORT + SCENE_INDEX)
#define SCENE_HOP 7
#define SCENE_DEVICE 3
#define SCENE_TOS 0xb8
#define SCENE_MTU 1500
#define SCENE_NO_STAT FLOW_STATS

enum scene_program { SCENE_XDP, SCENE_TC };
enum scene_verdict { SCENE_UP, SCENE_DROPPED, SCENE_FORWARDED, SCENE_BROKEN };

struct relay_bpf;

struct scene {
	struct relay_bpf *object;
	struct flow_control *control;
	struct flow4 *flows4;
	struct flow6 *flows6;
	struct flow_strangers *strangers;
	struct flow_hop *hops;
	/* Of the next run. */
	uint32_t gso_size;
	bool whole_sum;    /* as a card leaves it, and as it has to stay */
	uint32_t meta_len; /* XDP: so much headroom less */
	/* Of the last run. */
	uint8_t out[FRAME_MOST];
	size_t out_len;
	int error;
};

/** The way of a flow's packets; host byte order. */
struct way {
	uint8_t remote[16], local[16], src[16], dst[16];
	uint16_t remote_port, src_port, dst_port;
};

/** What a packet may change besides its own bytes. */
struct scene_counts {
	uint64_t stats[FLOW_STATS];
	struct flow_counters flow4, flow6;
	struct flow_strangers strangers;
};

/** For cmocka: *state is a scene, or NULL if there is no BPF here. */
int scene_start(void **state);
int scene_stop(void **state);

/** The scene as it was loaded: a flow in each family, a hop, a long lease. */
void scene_reset(struct scene *s);

struct way scene_way(int family);
void scene_install(struct scene *s, int family, const struct way *way);
uint16_t *scene_flow_hop(struct scene *s, int family);
struct flow_counters *scene_counters(struct scene *s, int family);

/** The frame that the flow's remote sends, and what becomes of it. */
struct frame_spec scene_sent(int family, const struct way *way,
			     const uint8_t *payload, size_t len);
struct frame_spec scene_arrives(const struct scene *s,
				enum scene_program program,
				const struct frame_spec *sent,
				const struct way *way);

enum scene_verdict scene_run(struct scene *s, enum scene_program program,
			     const uint8_t *frame, size_t len);
/** The shortest frame that the kernel takes for a run: of TC it wants the whole
 * IP header in newer kernels. */
size_t scene_shortest(enum scene_program program, const uint8_t *frame);
int scene_program_fd(struct scene *s, enum scene_program program);

struct scene_counts scene_counts(struct scene *s);
uint64_t scene_now_ns(void);

/* ---- what is expected; each fails the test otherwise ---- */

/** Forwarded and rewritten to exactly what frame_spec_build() makes of it, and
 * counted once. */
void scene_expect_forwarded(struct scene *s, enum scene_program program,
			    const struct frame_spec *sent,
			    const struct way *way);

/** Up, no byte changed, nothing counted but this one stat. */
void scene_expect_up(struct scene *s, enum scene_program program,
		     const uint8_t *frame, size_t len, unsigned stat);
void scene_expect_spec_up(struct scene *s, enum scene_program program,
			  const struct frame_spec *sent, unsigned stat);

/** A test's body, which runs in each program and family. */
typedef void (*scene_case_h)(struct scene *s, enum scene_program program,
			     int family);
void scene_each(void **state, scene_case_h run);

/** Skips the test, with the reason, if there is no BPF here. */
struct scene *scene_of(void **state);
