/**
 * @file bench/bare_redirect.bpf.c  The limit: redirect, and nothing else
 *
 * What a relay in XDP cannot be faster than: no look at the packet, no map
 * besides the one that the redirect itself needs.
 */
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_DEVMAP);
	__type(key, __u32);
	__type(value, __u32);
	__uint(max_entries, 1);
} out SEC(".maps");

SEC("xdp")
int redirect(struct xdp_md *ctx)
{
	return (int)bpf_redirect_map(&out, 0, 0);
}

char LICENSE[] SEC("license") = "GPL";
