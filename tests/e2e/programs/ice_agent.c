/**
 * @file tests/e2e/programs/ice_agent.c  A real ICE agent: libnice
 *
 *     ice_agent ADDRESS[,ADDRESS...] [controlling] [regular] [lite] [consent]
 *               [components=N]
 *
 * It gathers host candidates of these addresses and writes
 *
 *     ufrag UFRAG PWD
 *     candidate COMPONENT LINE      as in SDP, without a=
 *     gathered
 *
 * and then, as it comes,
 *
 *     state COMPONENT NAME
 *     selected COMPONENT LOCAL-ADDRESS LOCAL-PORT REMOTE-ADDRESS REMOTE-PORT
 *     got COMPONENT HEX
 *
 * It reads
 *
 *     remote UFRAG PWD              of the other agent
 *     candidate COMPONENT LINE      one of the other agent's
 *     go                            with all of these
 *     send COMPONENT HEX
 *     restart                       and says its new ufrag
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <nice/agent.h>

#define COMPONENTS_MOST 2
#define LINE_MOST 8192
#define BYTES_MOST 2048

struct program {
	NiceAgent *agent;
	GMainLoop *loop;
	guint stream;
	unsigned components;
	GSList *candidates[COMPONENTS_MOST]; /* of the other agent */
};

static void say_credentials(const struct program *p)
{
	gchar *ufrag = NULL, *pwd = NULL;

	nice_agent_get_local_credentials(p->agent, p->stream, &ufrag, &pwd);
	printf("ufrag %s %s\n", ufrag, pwd);
	g_free(ufrag);
	g_free(pwd);
}

static void say_candidate(gpointer data, gpointer arg)
{
	const struct program *p = arg;
	NiceCandidate *candidate = data;
	gchar *line =
		nice_agent_generate_local_candidate_sdp(p->agent, candidate);

	printf("candidate %u %s\n", candidate->component_id, line + 2);
	g_free(line);
}

static void free_candidate(gpointer data)
{
	nice_candidate_free(data);
}

static void gathered(NiceAgent *agent, guint stream, gpointer arg)
{
	struct program *p = arg;

	say_credentials(p);
	for (unsigned i = 1; i <= p->components; i++) {
		GSList *list =
			nice_agent_get_local_candidates(agent, stream, i);

		g_slist_foreach(list, say_candidate, p);
		g_slist_free_full(list, free_candidate);
	}
	puts("gathered");
}

static void state_changed(NiceAgent *agent, guint stream, guint component,
			  guint state, gpointer arg)
{
	(void)agent;
	(void)stream;
	(void)arg;
	printf("state %u %s\n", component,
	       nice_component_state_to_string((NiceComponentState)state));
}

static void selected(NiceAgent *agent, guint stream, guint component,
		     NiceCandidate *local, NiceCandidate *remote, gpointer arg)
{
	char from[NICE_ADDRESS_STRING_LEN], to[NICE_ADDRESS_STRING_LEN];

	(void)agent;
	(void)stream;
	(void)arg;
	nice_address_to_string(&local->base_addr, from);
	nice_address_to_string(&remote->addr, to);
	printf("selected %u %s %u %s %u\n", component, from,
	       nice_address_get_port(&local->base_addr), to,
	       nice_address_get_port(&remote->addr));
}

static void got(NiceAgent *agent, guint stream, guint component, guint len,
		gchar *bytes, gpointer arg)
{
	(void)agent;
	(void)stream;
	(void)arg;
	printf("got %u ", component);
	for (guint i = 0; i < len; i++)
		printf("%02x", (unsigned char)bytes[i]);
	puts("");
}

/* ---- commands ---- */

static void add_candidate(struct program *p, const char *args)
{
	char line[LINE_MOST];
	NiceCandidate *candidate;
	unsigned component;
	int at = 0;

	if (sscanf(args, "%u %n", &component, &at) != 1 || component < 1 ||
	    component > p->components)
		return;
	snprintf(line, sizeof(line), "a=%s", args + at);
	candidate = nice_agent_parse_remote_candidate_sdp(p->agent, p->stream,
							  line);
	if (!candidate) {
		printf("refused %s\n", line);
		return;
	}
	p->candidates[component - 1] =
		g_slist_append(p->candidates[component - 1], candidate);
}

static void go(struct program *p)
{
	for (unsigned i = 0; i < p->components; i++) {
		nice_agent_set_remote_candidates(p->agent, p->stream, i + 1,
						 p->candidates[i]);
		g_slist_free_full(p->candidates[i], free_candidate);
		p->candidates[i] = NULL;
	}
}

static void send_bytes(struct program *p, const char *args)
{
	char bytes[BYTES_MOST];
	unsigned component, byte;
	size_t len = 0;
	int at = 0;

	if (sscanf(args, "%u %n", &component, &at) != 1)
		return;
	for (args += at; len < sizeof(bytes) && sscanf(args, "%2x", &byte) == 1;
	     args += 2)
		bytes[len++] = (char)byte;
	nice_agent_send(p->agent, p->stream, component, (guint)len, bytes);
}

static void set_remote(struct program *p, const char *args)
{
	char ufrag[256], pwd[256];

	if (sscanf(args, "%255s %255s", ufrag, pwd) == 2)
		nice_agent_set_remote_credentials(p->agent, p->stream, ufrag,
						  pwd);
}

static void obey(struct program *p, char *line)
{
	char *args = strchr(line, ' ');

	if (args)
		*args++ = '\0';
	if (strcmp(line, "remote") == 0 && args)
		set_remote(p, args);
	else if (strcmp(line, "candidate") == 0 && args)
		add_candidate(p, args);
	else if (strcmp(line, "send") == 0 && args)
		send_bytes(p, args);
	else if (strcmp(line, "go") == 0)
		go(p);
	else if (strcmp(line, "restart") == 0) {
		nice_agent_restart(p->agent);
		say_credentials(p);
	}
}

static gboolean input(GIOChannel *channel, GIOCondition condition, gpointer arg)
{
	struct program *p = arg;
	gchar *line = NULL;
	GIOStatus status =
		g_io_channel_read_line(channel, &line, NULL, NULL, NULL);

	(void)condition;
	if (status == G_IO_STATUS_NORMAL)
		obey(p, g_strchomp(line));
	else if (status != G_IO_STATUS_AGAIN)
		g_main_loop_quit(p->loop);
	g_free(line);
	return TRUE;
}

/* ---- start ---- */

static void add_addresses(NiceAgent *agent, const char *list)
{
	gchar **texts = g_strsplit(list, ",", 0);

	for (gchar **text = texts; *text; text++) {
		NiceAddress address;

		nice_address_init(&address);
		if (nice_address_set_from_string(&address, *text))
			nice_agent_add_local_address(agent, &address);
	}
	g_strfreev(texts);
}

static bool has(int argc, char **argv, const char *word)
{
	for (int i = 2; i < argc; i++)
		if (strcmp(argv[i], word) == 0)
			return true;
	return false;
}

static NiceAgent *new_agent(int argc, char **argv)
{
	unsigned options = 0;
	NiceAgent *agent;

	if (has(argc, argv, "regular"))
		options |= NICE_AGENT_OPTION_REGULAR_NOMINATION;
	if (has(argc, argv, "lite"))
		options |= NICE_AGENT_OPTION_LITE_MODE;
	if (has(argc, argv, "consent"))
		options |= NICE_AGENT_OPTION_CONSENT_FRESHNESS;
	agent = nice_agent_new_full(g_main_context_default(),
				    NICE_COMPATIBILITY_RFC5245,
				    (NiceAgentOption)options);
	g_object_set(agent, "ice-tcp", FALSE, "upnp", FALSE, "controlling-mode",
		     has(argc, argv, "controlling"), NULL);
	add_addresses(agent, argv[1]);
	return agent;
}

int main(int argc, char **argv)
{
	struct program p = {.components = 1};
	GIOChannel *channel = g_io_channel_unix_new(0);

	if (argc < 2)
		return 2;
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (has(argc, argv, "components=2"))
		p.components = 2;
	p.loop = g_main_loop_new(NULL, FALSE);
	p.agent = new_agent(argc, argv);
	g_signal_connect(p.agent, "candidate-gathering-done",
			 G_CALLBACK(gathered), &p);
	g_signal_connect(p.agent, "component-state-changed",
			 G_CALLBACK(state_changed), &p);
	g_signal_connect(p.agent, "new-selected-pair-full",
			 G_CALLBACK(selected), &p);
	p.stream = nice_agent_add_stream(p.agent, p.components);
	for (unsigned i = 1; i <= p.components; i++)
		nice_agent_attach_recv(p.agent, p.stream, i,
				       g_main_context_default(), got, &p);
	g_io_channel_set_flags(channel, G_IO_FLAG_NONBLOCK, NULL);
	g_io_add_watch(channel, G_IO_IN | G_IO_HUP, input, &p);
	if (!nice_agent_gather_candidates(p.agent, p.stream))
		return 1;
	g_main_loop_run(p.loop);
	g_object_unref(p.agent);
	g_main_loop_unref(p.loop);
	g_io_channel_unref(channel);
	return 0;
}
