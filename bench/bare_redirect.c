/**
 * @file bench/bare_redirect.c  Attaches bare_redirect.bpf.c between two
 * interfaces
 *
 * Says "ok" when packets go from the one to the other, and ends with its
 * standard input.
 *
 * Usage: bare_redirect NETNS FROM TO
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <stdio.h>

#include "bare_redirect.skel.h"
#include "tool.h"

int main(int argc, char **argv)
{
	struct bare_redirect_bpf *bpf;
	uint32_t zero = 0, to;

	if (argc != 4) {
		(void)fputs("Usage: bare_redirect NETNS FROM TO\n", stderr);
		return 2;
	}
	tool_end_with_parent();
	tool_enter(argv[1]);
	to = tool_interface(argv[3]);
	bpf = bare_redirect_bpf__open_and_load();
	if (!bpf)
		tool_fail("bare_redirect.bpf.c");
	if (bpf_map_update_elem(bpf_map__fd(bpf->maps.out), &zero, &to,
				BPF_ANY) < 0)
		tool_fail("devmap");
	tool_run_xdp(bpf->progs.redirect, argv[2]);
	bare_redirect_bpf__destroy(bpf);
	return 0;
}
