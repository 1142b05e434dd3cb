/**
 * @file ctl/certs.c  mediaproxy certs: the certificates of links and management
 */
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "ctl/ctl.h"
#include "net/certificate.h"
#include "version.h"

static const char help[] =
	"Usage: mediaproxy certs init [--organization O] [--common-name CN] "
	"[--days N]\n"
	"       mediaproxy certs dispatcher|relay [--out FOLDER] [--force]\n"
	"                        [--organization O] [--common-name CN] "
	"[--days N]\n"
	"       mediaproxy certs revoke FILE|SERIAL\n"
	"       mediaproxy certs renew-crl [--days N]\n"
	"       mediaproxy certs show [--json]\n"
	"\n"
	"Make and look after the certificates that dispatchers and relays show "
	"each\n"
	"other. All commands work on the folder of the CA:\n"
	"\n"
	"  --folder FOLDER    default " DEFAULT_CONFIG_DIR "/tls\n"
	"\n"
	"Commands:\n"
	"  init        make a CA (ca.pem, ca.key) and an empty CRL (crl.pem)\n"
	"  dispatcher  issue dispatcher.crt and dispatcher.key\n"
	"  relay       issue relay.crt and relay.key\n"
	"  revoke      put a certificate on the CRL\n"
	"  renew-crl   write the CRL again, before it expires\n"
	"  show        what is in the folder, and what is wrong with it\n"
	"\n"
	"Options:\n"
	"  --out FOLDER       where the certificate goes (default: the CA's "
	"folder);\n"
	"                     another folder gets ca.pem and crl.pem as well\n"
	"  --organization O   O of the subject (default: MediaProxy for a CA, "
	"the CA's\n"
	"                     for a certificate)\n"
	"  --common-name CN   CN of the subject (default: MediaProxy CA, or "
	"the "
	"name)\n"
	"  --days N           how long it is valid (default: 3650 for a CA, "
	"730 "
	"for a\n"
	"                     certificate, 365 for a CRL)\n"
	"  --force            replace a certificate that is there\n"
	"\n"
	"Examples:\n"
	"  mediaproxy certs init --organization \"Example Ltd\"\n"
	"  mediaproxy certs dispatcher\n"
	"  mediaproxy certs relay --out /root/relay2-tls --common-name relay2\n"
	"  mediaproxy certs revoke /root/relay2-tls/relay.crt\n"
	"\n"
	"After revoke and renew-crl, copy crl.pem to every dispatcher and "
	"relay. Keep\n"
	"ca.key safe: whoever has it can make certificates that are trusted.\n";

struct certs_options {
	const char *folder, *out;
	struct certificate_subject subject;
	uint64_t days;
	bool force, json;
};

static int failed(const char *why)
{
	return ctl_fail("certs", "%s", why);
}

static int init(const struct certs_options *o)
{
	const char *why = "";

	if (certificate_init(o->folder, &o->subject, (unsigned)o->days, &why) <
	    0)
		return failed(why);
	(void)printf("Made ca.pem, ca.key and crl.pem in %s.\n"
		     "Next: \"mediaproxy certs dispatcher\" and \"mediaproxy "
		     "certs relay\".\n",
		     o->folder);
	return CTL_OK;
}

static int issue(const struct certs_options *o, const char *name)
{
	const char *out = o->out ? o->out : o->folder;
	const char *why = "";

	if (certificate_issue(o->folder, out, name, &o->subject,
			      (unsigned)o->days, o->force, &why) < 0)
		return failed(why);
	(void)printf("Made %s.crt and %s.key in %s.\n", name, name, out);
	return CTL_OK;
}

static int revoke_certificate(const struct certs_options *o, const char *what)
{
	const char *why = "";

	if (certificate_revoke(o->folder, what, &why) < 0)
		return failed(why);
	(void)printf("Revoked. Copy %s/crl.pem to every dispatcher and relay: "
		     "they read it\nagain by themselves.\n",
		     o->folder);
	return CTL_OK;
}

static int renew_crl(const struct certs_options *o)
{
	const char *why = "";

	if (certificate_renew_crl(o->folder, (unsigned)o->days, &why) < 0)
		return failed(why);
	(void)printf("Wrote %s/crl.pem. Copy it to every dispatcher and "
		     "relay.\n",
		     o->folder);
	return CTL_OK;
}

static int show(const struct certs_options *o)
{
	CLEANUP(freep) char *text = NULL;
	const char *why = "";

	if (certificate_show(o->folder, o->json, &text, &why) < 0)
		return failed(why);
	(void)fputs(text, stdout);
	if (o->json)
		(void)fputc('\n', stdout);
	return CTL_OK;
}

/* @return 0 to go on, or an exit status + 1 */
static int read_options(int argc, char **argv, struct certs_options *o)
{
	static const struct option options[] = {
		{"folder", required_argument, NULL, 'f'},
		{"out", required_argument, NULL, 'o'},
		{"organization", required_argument, NULL, 'O'},
		{"common-name", required_argument, NULL, 'C'},
		{"days", required_argument, NULL, 'd'},
		{"force", no_argument, NULL, 'F'},
		{"json", no_argument, NULL, 'j'},
		{"help", no_argument, NULL, 'h'},
		{NULL, 0, NULL, 0},
	};
	int c;

	opterr = 0;
	while ((c = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		switch (c) {
		case 'f':
			o->folder = optarg;
			break;
		case 'o':
			o->out = optarg;
			break;
		case 'O':
			o->subject.organization = optarg;
			break;
		case 'C':
			o->subject.common_name = optarg;
			break;
		case 'd':
			if (!ctl_number("certs", "--days", optarg, 1,
					CERTIFICATE_MAX_DAYS, &o->days))
				return CTL_USAGE + 1;
			break;
		case 'F':
			o->force = true;
			break;
		case 'j':
			o->json = true;
			break;
		case 'h':
			(void)fputs(help, stdout);
			return CTL_OK + 1;
		default:
			return ctl_bad_option("certs", argc, argv) + 1;
		}
	}
	return 0;
}

int ctl_certs(int argc, char **argv)
{
	struct certs_options o = {.folder = DEFAULT_CONFIG_DIR "/tls"};
	const char *action, *argument;
	int rc = read_options(argc, argv, &o);

	if (rc > 0)
		return rc - 1;
	action = optind < argc ? argv[optind] : NULL;
	argument = optind + 1 < argc ? argv[optind + 1] : NULL;
	if (!action)
		return ctl_usage_error("certs", "what is to be done?");
	if (strcmp(action, "revoke") == 0) {
		if (!argument || argc - optind > 2)
			return ctl_usage_error("certs",
					       "revoke takes one file or "
					       "serial number");
		return revoke_certificate(&o, argument);
	}
	if (argument)
		return ctl_usage_error("certs", "\"%s\" is one word too many",
				       argument);
	if (strcmp(action, "init") == 0)
		return init(&o);
	if (strcmp(action, "dispatcher") == 0 || strcmp(action, "relay") == 0)
		return issue(&o, action);
	if (strcmp(action, "renew-crl") == 0)
		return renew_crl(&o);
	if (strcmp(action, "show") == 0)
		return show(&o);
	return ctl_usage_error("certs", "there is no \"certs %s\"", action);
}
