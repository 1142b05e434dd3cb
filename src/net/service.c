#include "net/service.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#ifdef HAVE_LIBSYSTEMD
#include <systemd/sd-daemon.h>
#endif

#include "base/cleanup.h"

/* What the process remembers about itself as a service. */
static struct {
	int ready_fd; /* to the parent that waits, or -1 */
	int pid_fd;   /* the locked pid file, or -1 */
	char *pid_path;
	pid_t pid; /* who wrote the pid file */
} service = {.ready_fd = -1, .pid_fd = -1};

static int make_one_dir(const char *path, mode_t mode)
{
	struct stat st;

	/* Whatever the umask of who started us. */
	if (mkdir(path, mode) == 0)
		return chmod(path, mode) < 0 ? -errno : 0;
	if (errno != EEXIST)
		return -errno;
	if (stat(path, &st) < 0)
		return -errno;
	return S_ISDIR(st.st_mode) ? 0 : -ENOTDIR;
}

static int make_dir(const char *path, mode_t mode)
{
	CLEANUP(freep) char *copy = strdup(path);

	if (!copy)
		return -ENOMEM;
	for (char *at = copy + 1; copy[0] && *at; at++) {
		int rc;

		if (*at != '/')
			continue;
		*at = '\0';
		rc = make_one_dir(copy, 0755);
		*at = '/';
		if (rc < 0)
			return rc;
	}
	return make_one_dir(copy, mode);
}

/* The folder is for others to find sockets in. */
int service_make_runtime_dir(const char *path)
{
	return make_dir(path, 0755);
}

int service_make_state_dir(const char *path)
{
	return make_dir(path, 0750);
}

/* The parent's end: its exit status is the start's result. */
static _Noreturn void wait_for_ready(int fd, pid_t child)
{
	ssize_t got;
	char byte;

	do
		got = read(fd, &byte, 1);
	while (got < 0 && errno == EINTR);
	while (waitpid(child, NULL, 0) < 0 && errno == EINTR)
		;
	_exit(got == 1 ? 0 : 1);
}

/* Let a standard descriptor point to /dev/null. */
static void null_descriptor(int fd)
{
	CLEANUP(closep) int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);

	if (null_fd >= 0)
		(void)dup2(null_fd, fd);
	if (null_fd == fd)
		null_fd = -1;
}

int service_daemonize(void)
{
	int fds[2];
	pid_t child;

	fflush(NULL);
	if (pipe(fds) < 0)
		return -errno;
	child = fork();
	if (child < 0) {
		int rc = -errno;

		close(fds[0]);
		close(fds[1]);
		return rc;
	}
	if (child > 0) {
		close(fds[1]);
		wait_for_ready(fds[0], child);
	}

	/* The second fork: not a session leader, so no terminal ever. */
	close(fds[0]);
	if (setsid() < 0)
		_exit(1);
	child = fork();
	if (child != 0)
		_exit(child < 0 ? 1 : 0);

	(void)fcntl(fds[1], F_SETFD, FD_CLOEXEC);
	service.ready_fd = fds[1];
	null_descriptor(STDIN_FILENO);
	null_descriptor(STDOUT_FILENO);
	return 0;
}

/* Who holds the lock. The kernel knows; the file's text is for people, and for
 * a holder in another pid namespace. */
static pid_t pid_of_holder(int fd)
{
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	char text[32] = "";

	if (fcntl(fd, F_GETLK, &lock) == 0 && lock.l_type != F_UNLCK &&
	    lock.l_pid > 0)
		return lock.l_pid;
	if (pread(fd, text, sizeof(text) - 1, 0) <= 0)
		return 0;
	return (pid_t)strtol(text, NULL, 10);
}

/* Open and lock the file that stands under the name now: between the two
 * steps its former owner may have removed it. */
static int open_locked(const char *path, int *ret_fd, pid_t *ret_pid)
{
	for (int attempt = 0; attempt < 10; attempt++) {
		struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
		struct stat ours, there;
		CLEANUP(closep)
		int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW,
			      0644);

		if (fd < 0)
			return -errno;
		if (fcntl(fd, F_SETLK, &lock) < 0) {
			if (errno != EAGAIN && errno != EACCES)
				return -errno;
			*ret_pid = pid_of_holder(fd);
			return -EEXIST;
		}
		if (fstat(fd, &ours) < 0)
			return -errno;
		if (stat(path, &there) == 0 && ours.st_dev == there.st_dev &&
		    ours.st_ino == there.st_ino) {
			*ret_fd = TAKE_FD(fd);
			return 0;
		}
	}
	return -EAGAIN;
}

int service_pid_file(const char *runtime_dir, const char *name, pid_t *ret_pid)
{
	CLEANUP(freep) char *path = NULL;
	CLEANUP(closep) int fd = -1;
	int rc;

	if (asprintf(&path, "%s/%s.pid", runtime_dir, name) < 0) {
		path = NULL;
		return -ENOMEM;
	}
	rc = open_locked(path, &fd, ret_pid);
	if (rc < 0)
		return rc;
	if (ftruncate(fd, 0) < 0 || dprintf(fd, "%ld\n", (long)getpid()) < 0)
		return -errno;

	service_remove_pid_file();
	service.pid_fd = TAKE_FD(fd);
	service.pid_path = TAKE_PTR(path);
	service.pid = getpid();
	return 0;
}

void service_remove_pid_file(void)
{
	if (service.pid_fd < 0)
		return;
	/* A child that was forked later has no lock and removes nothing. */
	if (service.pid == getpid())
		(void)unlink(service.pid_path);
	close(service.pid_fd);
	free(service.pid_path);
	service.pid_fd = -1;
	service.pid_path = NULL;
}

void service_ready(const char *status)
{
	if (service.ready_fd >= 0) {
		ssize_t sent;

		null_descriptor(STDERR_FILENO);
		do
			sent = write(service.ready_fd, "R", 1);
		while (sent < 0 && errno == EINTR);
		close(service.ready_fd);
		service.ready_fd = -1;
	}
#ifdef HAVE_LIBSYSTEMD
	(void)sd_notifyf(0, "READY=1\nSTATUS=%s", status ? status : "");
#else
	(void)status;
#endif
}

void service_stopping(void)
{
#ifdef HAVE_LIBSYSTEMD
	(void)sd_notify(0, "STOPPING=1");
#endif
}

/* The kernel's own bound for the limit; where there is none: no bound. */
static rlim_t most_open_files(void)
{
	unsigned long long value = 0;
	FILE *file = fopen("/proc/sys/fs/nr_open", "re");

	if (!file)
		return RLIM_INFINITY;
	if (fscanf(file, "%llu", &value) != 1)
		value = 0;
	fclose(file);
	return value ? (rlim_t)value : RLIM_INFINITY;
}

uint64_t service_raise_open_files(uint64_t wanted)
{
	rlim_t most = most_open_files();
	struct rlimit now, next;
	rlim_t target;

	if (getrlimit(RLIMIT_NOFILE, &now) < 0)
		return 0;
	target = wanted ? (rlim_t)wanted : now.rlim_max;
	if (target > most)
		target = most;
	if (target <= now.rlim_cur)
		return now.rlim_cur;

	next.rlim_cur = target;
	next.rlim_max = target > now.rlim_max ? target : now.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &next) < 0) {
		/* Not privileged: what the hard limit gives. */
		next.rlim_max = now.rlim_max;
		next.rlim_cur = target < now.rlim_max ? target : now.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &next);
	}
	if (getrlimit(RLIMIT_NOFILE, &next) < 0)
		return now.rlim_cur;
	return next.rlim_cur;
}

gid_t service_group(const char *name)
{
	struct group entry, *found = NULL;
	char text[4096];

	if (getgrnam_r(name, &entry, text, sizeof(text), &found) != 0 || !found)
		return (gid_t)-1;
	return found->gr_gid;
}

/* Connecting a UDP socket sends nothing: it asks the routing table. */
static int source_towards(const char *there, struct ip_addr *ret)
{
	struct endpoint to = {.port = 53}, here;
	struct sockaddr_storage address;
	socklen_t len;
	CLEANUP(closep) int fd = -1;

	if (ip_parse(span_of(there), &to.ip) < 0)
		return -EINVAL;
	len = endpoint_to_sockaddr(&to, &address);
	fd = socket(address.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, (struct sockaddr *)&address, len) < 0)
		return -ENETUNREACH;
	len = sizeof(address);
	if (getsockname(fd, (struct sockaddr *)&address, &len) < 0)
		return -ENETUNREACH;
	here = endpoint_from_sockaddr(&address);
	if (!ip_is_set(&here.ip) || ip_is_unspecified(&here.ip) ||
	    ip_is_loopback(&here.ip) || ip_is_link_local(&here.ip))
		return -ENETUNREACH;
	*ret = here.ip;
	return 0;
}

int net_default_address(struct ip_addr *ret)
{
	struct ip_addr found = {0};
	int rc;

	/* Two root name servers: addresses that are everybody's "outside". */
	rc = source_towards("198.41.0.4", &found);
	if (rc < 0)
		rc = source_towards("2001:503:ba3e::2:30", &found);
	*ret = found;
	return rc < 0 ? -ENETUNREACH : 0;
}
