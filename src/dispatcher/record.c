#include "dispatcher/record.h"

#include "base/log.h"

void record_finished(const struct ip_addr *relay, struct span json)
{
	char text[ADDR_TEXT_SIZE];

	log_debug("final record from relay %s: %.*s", ip_format(relay, text),
		  SPAN_ARG(json));
}
