#include "net/daemon.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "net/service.h"
#include "version.h"

enum {
	OPTION_NO_FORK = 256,
	OPTION_CONFIG_DIR,
	OPTION_RUNTIME_DIR,
	OPTION_SYSTEMD,
	OPTION_DEBUG,
	OPTION_CHECK
};

static const struct option options[] = {
	{"no-fork", no_argument, NULL, OPTION_NO_FORK},
	{"config-dir", required_argument, NULL, OPTION_CONFIG_DIR},
	{"runtime-dir", required_argument, NULL, OPTION_RUNTIME_DIR},
	{"systemd", no_argument, NULL, OPTION_SYSTEMD},
	{"debug", no_argument, NULL, OPTION_DEBUG},
	{"check", no_argument, NULL, OPTION_CHECK},
	{"version", no_argument, NULL, 'v'},
	{"help", no_argument, NULL, 'h'},
	{NULL, 0, NULL, 0},
};

static void print_help(const char *name)
{
	printf("Usage: %s [OPTION]...\n"
	       "\n"
	       "      --no-fork           stay in the foreground, log to "
	       "standard error\n"
	       "      --config-dir DIR    where config.ini is "
	       "(" DEFAULT_CONFIG_DIR ")\n"
	       "      --runtime-dir DIR   for sockets and the pid file "
	       "(" DEFAULT_RUNTIME_DIR ")\n"
	       "      --systemd           run as a systemd service, in the "
	       "foreground\n"
	       "      --debug             log at debug level\n"
	       "      --check             check configuration and "
	       "certificates, then exit\n"
	       "      --version           print the version\n"
	       "      --help              print this\n",
	       name);
}

static int take_path(char to[static CONF_MAX_TEXT], const char *path)
{
	if (*path == '\0' || strlen(path) >= CONF_MAX_TEXT) {
		fprintf(stderr, "not a usable folder: '%s'\n", path);
		return -EINVAL;
	}
	strcpy(to, path);
	return 0;
}

/* @return true to go on */
static bool read_options(struct daemon *daemon, int argc, char **argv,
			 int *ret_exit)
{
	int option;

	*ret_exit = 1;
	while ((option = getopt_long(argc, argv, "hv", options, NULL)) != -1) {
		switch (option) {
		case OPTION_NO_FORK:
			daemon->foreground = true;
			break;
		case OPTION_SYSTEMD:
			daemon->foreground = true;
			daemon->systemd = true;
			break;
		case OPTION_DEBUG:
			daemon->debug = true;
			break;
		case OPTION_CHECK:
			daemon->check = true;
			break;
		case OPTION_CONFIG_DIR:
			if (take_path(daemon->config_dir, optarg) < 0)
				return false;
			break;
		case OPTION_RUNTIME_DIR:
			if (take_path(daemon->runtime_dir, optarg) < 0)
				return false;
			break;
		case 'v':
			printf("%s %s\n", daemon->name, MEDIAPROXY_VERSION);
			*ret_exit = 0;
			return false;
		case 'h':
			print_help(daemon->name);
			*ret_exit = 0;
			return false;
		default:
			return false;
		}
	}
	if (optind < argc) {
		fprintf(stderr, "%s: what is '%s'? See --help\n", daemon->name,
			argv[optind]);
		return false;
	}
	return true;
}

static void log_lines(enum log_level level, const struct buf *text)
{
	struct span rest = buf_span(text);
	struct span line;

	while (span_cut(&rest, '\n', &line))
		log_line(level, "%.*s", SPAN_ARG(line));
	if (rest.len > 0)
		log_line(level, "%.*s", SPAN_ARG(rest));
}

static enum log_level configured_level(const struct daemon *daemon)
{
	return daemon->kind == CONF_DAEMON_RELAY
		       ? daemon->conf->relay.log_level
		       : daemon->conf->dispatcher.log_level;
}

static int load_conf(struct daemon *daemon)
{
	CLEANUP(buf_done) struct buf warnings = {0};
	CLEANUP(buf_done) struct buf error = {0};
	int r;

	snprintf(daemon->config_file, sizeof(daemon->config_file),
		 "%s/config.ini", daemon->config_dir);
	r = conf_load(&daemon->conf, daemon->config_file, daemon->kind,
		      &warnings, &error);
	log_lines(LOG_LEVEL_WARNING, &warnings);
	if (r == -EINVAL && error.len > 0)
		log_lines(LOG_LEVEL_ERROR, &error);
	else if (r < 0)
		log_error("%s: %s", daemon->config_file, strerror(-r));
	if (r < 0)
		return r;
	log_set_level(daemon->debug ? LOG_LEVEL_DEBUG
				    : configured_level(daemon));
	return 0;
}

bool daemon_prepare(struct daemon *daemon, int argc, char **argv, int *ret_exit)
{
	strcpy(daemon->config_dir, DEFAULT_CONFIG_DIR);
	strcpy(daemon->runtime_dir, DEFAULT_RUNTIME_DIR);
	log_open(daemon->name, /* to_syslog= */ false);
	if (!read_options(daemon, argc, argv, ret_exit))
		return false;
	if (load_conf(daemon) < 0) {
		*ret_exit = 1;
		return false;
	}
	return true;
}

void daemon_done(struct daemon *daemon)
{
	service_remove_pid_file();
	daemon->conf = conf_free(daemon->conf);
}

int daemon_load_tls(const struct daemon *daemon,
		    const struct passport *passport, struct tls_context **ret)
{
	const struct conf_tls *tls = &daemon->conf->tls;
	char path[CONF_MAX_TEXT * 2];
	struct tls_options tls_options = {
		.certs_path = tls->certs_path,
		.name = daemon->kind == CONF_DAEMON_RELAY ? "relay"
							  : "dispatcher",
		.passport = passport,
		.crl_strict = tls->crl_strict,
		.check_extended_key_usage = tls->check_extended_key_usage,
		.security_level = tls->security_level,
	};
	const char *why;
	int r;

	daemon_config_path(daemon, tls->certs_path, path);
	tls_options.certs_path = path;
	r = tls_context_new(ret, &tls_options, &why);
	if (r < 0) {
		log_error("TLS: %s", r == -ENOMEM ? "out of memory" : why);
		return r;
	}
	if (tls_context_warning(*ret))
		log_warning("TLS: %s", tls_context_warning(*ret));
	return 0;
}

int daemon_start(struct daemon *daemon)
{
	pid_t other = 0;
	int r = service_make_runtime_dir(daemon->runtime_dir);

	if (r < 0) {
		log_error("runtime folder %s: %s", daemon->runtime_dir,
			  strerror(-r));
		return r;
	}
	if (!daemon->foreground) {
		r = service_daemonize();
		if (r < 0) {
			log_error("cannot go to the background: %s",
				  strerror(-r));
			return r;
		}
	}
	r = service_pid_file(daemon->runtime_dir, daemon->name, &other);
	if (r == -EEXIST)
		log_error("another %s runs on %s (pid %d)", daemon->name,
			  daemon->runtime_dir, (int)other);
	else if (r < 0)
		log_error("pid file in %s: %s", daemon->runtime_dir,
			  strerror(-r));
	return r;
}

void daemon_ready(const struct daemon *daemon, const char *status)
{
	if (!daemon->foreground)
		log_open(daemon->name, /* to_syslog= */ true);
	log_info("%s " MEDIAPROXY_VERSION " ready: %s", daemon->name, status);
	service_ready(status);
}

void daemon_toggle_debug(int signal_number, void *arg)
{
	const struct daemon *daemon = arg;
	bool on = log_get_level() != LOG_LEVEL_DEBUG;

	log_set_level(on ? LOG_LEVEL_DEBUG : configured_level(daemon));
	log_warning("signal %d: debug logging %s", signal_number,
		    on ? "on" : "off");
}

static void join(const char *folder, const char *name,
		 char path[static CONF_MAX_TEXT * 2])
{
	snprintf(path, CONF_MAX_TEXT * 2, name[0] == '/' ? "%s%s" : "%s/%s",
		 name[0] == '/' ? "" : folder, name);
}

void daemon_runtime_path(const struct daemon *daemon, const char *name,
			 char path[static CONF_MAX_TEXT * 2])
{
	join(daemon->runtime_dir, name, path);
}

void daemon_config_path(const struct daemon *daemon, const char *name,
			char path[static CONF_MAX_TEXT * 2])
{
	join(daemon->config_dir, name, path);
}
