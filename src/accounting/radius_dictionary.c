#include <errno.h>
#include <radcli/radcli.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "accounting/radius_config.h"
#include "base/cleanup.h"

/* The names by which a dictionary may give them other numbers.
 * packaging/radius/ dictionary is this table as a file. */
static const struct definition {
	const char *name;
	uint8_t type;
	bool standard; /* RFC 2865, 2866, 2869, 3162: the same everywhere */
} definitions[RADIUS_NAME_COUNT] = {
	[RADIUS_USER_NAME] = {"User-Name", 1, true},
	[RADIUS_NAS_IP_ADDRESS] = {"NAS-IP-Address", 4, true},
	[RADIUS_ACCT_STATUS_TYPE] = {"Acct-Status-Type", 40, true},
	[RADIUS_ACCT_DELAY_TIME] = {"Acct-Delay-Time", 41, true},
	[RADIUS_ACCT_INPUT_OCTETS] = {"Acct-Input-Octets", 42, true},
	[RADIUS_ACCT_OUTPUT_OCTETS] = {"Acct-Output-Octets", 43, true},
	[RADIUS_ACCT_SESSION_ID] = {"Acct-Session-Id", 44, true},
	[RADIUS_ACCT_SESSION_TIME] = {"Acct-Session-Time", 46, true},
	[RADIUS_ACCT_INPUT_GIGAWORDS] = {"Acct-Input-Gigawords", 52, true},
	[RADIUS_ACCT_OUTPUT_GIGAWORDS] = {"Acct-Output-Gigawords", 53, true},
	[RADIUS_NAS_IPV6_ADDRESS] = {"NAS-IPv6-Address", 95, true},
	[RADIUS_SIP_FROM_TAG] = {"Sip-From-Tag", 206, false},
	[RADIUS_SIP_TO_TAG] = {"Sip-To-Tag", 207, false},
	[RADIUS_MEDIA_CODECS] = {"Media-Codecs", 233, false},
	[RADIUS_MEDIA_INFO] = {"Media-Info", 234, false},
	[RADIUS_SIP_USER_AGENTS] = {"Sip-User-Agents", 235, false},
	[RADIUS_SIP_APPLICATIONS] = {"Sip-Applications", 236, false},
};

static void destroyp(rc_handle **handle)
{
	if (*handle)
		rc_destroy(*handle);
}

static void fclosep(FILE **file)
{
	if (*file)
		fclose(*file);
}

static bool is_type(const char *word)
{
	static const char *const types[] = {
		"string",   "integer",    "ipaddr", "ipv4addr",
		"ipv6addr", "ipv6prefix", "date"};

	for (size_t i = 0; i < ARRAY_SIZE(types); i++)
		if (strcmp(word, types[i]) == 0)
			return true;
	return false;
}

/* radcli gives its reason to syslog alone. This finds what is most likely: an
 * attribute of a type that it does not know, as dictionaries of FreeRADIUS
 * have. 0: it is something else, or stands in an included file. */
static unsigned line_that_is_wrong(const char *path)
{
	CLEANUP(fclosep) FILE *file = fopen(path, "re");
	char text[256], name[256], number[256], type[256];

	for (unsigned line = 1; file && fgets(text, sizeof(text), file);
	     line++) {
		if (strncmp(text, "ATTRIBUTE", 9) != 0)
			continue;
		text[strcspn(text, "#")] = '\0';
		if (sscanf(text, "%*s %255s %255s %255s", name, number, type) <
			    3 ||
		    strlen(name) > NAME_LENGTH || !is_type(type))
			return line;
	}
	return 0;
}

static int read_file(rc_handle *handle, const char *path, struct buf *ret_why)
{
	unsigned line;

	if (access(path, R_OK) < 0) {
		buf_printf(ret_why, "cannot read the RADIUS dictionary %s: %s",
			   path, strerror(errno));
		return -EINVAL;
	}
	if (rc_read_dictionary(handle, path) == 0)
		return 0;
	line = line_that_is_wrong(path);
	buf_printf(ret_why,
		   "the RADIUS dictionary %s is not in radcli's format", path);
	if (line > 0)
		buf_printf(ret_why,
			   ", line %u: write `ATTRIBUTE NAME NUMBER TYPE` with "
			   "string, integer, ipaddr, ipv6addr, ipv6prefix or "
			   "date as its type",
			   line);
	else
		buf_printf(ret_why, ": radcli tells syslog which line it is");
	return -EINVAL;
}

static int take_codes(struct radius_code *ret, rc_handle *handle,
		      struct buf *ret_why)
{
	for (size_t i = 0; i < RADIUS_NAME_COUNT; i++) {
		const struct definition *definition = &definitions[i];
		const DICT_ATTR *found = NULL;

		ret[i] = (struct radius_code){.type = definition->type};
		if (!definition->standard)
			found = rc_dict_findattr(handle, definition->name);
		if (!found)
			continue;
		ret[i].vendor = VENDOR((uint32_t)found->value);
		ret[i].type = (uint8_t)found->value;
		if (found->type == PW_TYPE_STRING && ATTRID(found->value) > 0 &&
		    ATTRID(found->value) < 256)
			continue;
		buf_printf(ret_why,
			   "a RADIUS dictionary has %s as number %d of type "
			   "%d: write `ATTRIBUTE %s %d string`",
			   definition->name, ATTRID(found->value),
			   (int)found->type, definition->name,
			   definition->type);
		return -EINVAL;
	}
	return 0;
}

/* Without options rc_destroy() forgets the name of the dictionary. */
static rc_handle *new_handle(void)
{
	rc_handle *handle = rc_new();

	return handle ? rc_config_init(handle) : NULL;
}

int radius_dictionary_load(struct radius_code ret[static RADIUS_NAME_COUNT],
			   const char *dictionary, const char *additional,
			   struct buf *ret_why, struct buf *ret_warnings)
{
	CLEANUP(destroyp) rc_handle *handle = new_handle();
	int err = handle ? 0 : -ENOMEM;

	if (err == 0 && dictionary)
		err = read_file(handle, dictionary, ret_why);
	if (err == 0 && additional && access(additional, F_OK) < 0)
		buf_printf(ret_warnings,
			   "additional_dictionary: %s: %s; the attributes "
			   "of SIP have their usual numbers\n",
			   additional, strerror(errno));
	else if (err == 0 && additional)
		err = read_file(handle, additional, ret_why);
	return err < 0 ? err : take_codes(ret, handle, ret_why);
}
