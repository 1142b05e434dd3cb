#include "base/cleanup.h"
#include "relay/relay.h"

static void write_stories(const struct relay *relay, struct span call_id,
			  struct json_writer *w)
{
	(void)sessions_explain(relay->sessions, call_id,
			       loop_now_us(relay->loop), w);
}

/* What is too long for a line becomes `error`. */
void relay_explain(struct relay *relay, const struct relay_request *request,
		   struct span call_id)
{
	CLEANUP(buf_done) struct buf json = {0};
	struct json_writer w = json_writer_over(&json);

	json_array_begin(&w, NULL);
	write_stories(relay, call_id, &w);
	json_array_end(&w);
	(void)relay_links_reply(relay->links, request,
				buf_failed(&json) ? SPAN("error")
						  : buf_span(&json));
}

void relay_api_explain(struct management_request *request, void *arg)
{
	const char *call_id = management_request_parameter(request, "call_id");

	if (!call_id || call_id[0] == '\0') {
		management_request_refuse(request, 400, "call_id is needed");
		return;
	}
	write_stories(arg, span_of(call_id), management_request_item(request));
	management_request_finish(request);
}
