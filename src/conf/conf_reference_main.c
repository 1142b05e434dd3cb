/** @file conf/conf_reference_main.c  Print docs/configuration.md */
#include <stdio.h>

#include "base/cleanup.h"
#include "conf/conf.h"

int main(void)
{
	CLEANUP(buf_done) struct buf out = {0};

	conf_print_reference(&out);
	if (buf_failed(&out))
		return 1;
	return fwrite(out.data, 1, out.len, stdout) == out.len ? 0 : 1;
}
