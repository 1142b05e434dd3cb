/**
 * @file tests/bpf/kernel61/init.c  The only process of a machine that tests
 *
 * Inserts the modules in /modules, runs each program in /tests, says how each
 * ended, and turns the machine off. boot.py reads what it says.
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

static int visible(const struct dirent *entry)
{
	return entry->d_name[0] != '.';
}

static void each_file(const char *folder, void (*run)(const char *path))
{
	struct dirent **names;
	int count = scandir(folder, &names, visible, alphasort);

	for (int i = 0; i < count; i++) {
		char path[512];

		snprintf(path, sizeof(path), "%s/%s", folder, names[i]->d_name);
		run(path);
		free(names[i]);
	}
	if (count >= 0)
		free(names);
}

static void insert_module(const char *path)
{
	int fd = open(path, O_RDONLY);

	if (fd < 0 || syscall(SYS_finit_module, fd, "", 0) < 0)
		perror(path);
	if (fd >= 0)
		close(fd);
}

static void run_program(const char *path)
{
	pid_t pid = fork();
	int status = -1;

	if (pid == 0) {
		execl(path, path, (char *)NULL);
		perror(path);
		_exit(127);
	}
	if (pid > 0)
		waitpid(pid, &status, 0);
	printf("PROGRAM %s %d\n", path, status);
	fflush(stdout);
}

int main(void)
{
	struct utsname kernel;

	mkdir("/proc", 0755);
	mkdir("/sys", 0755);
	mkdir("/tmp", 0755);
	if (mount("proc", "/proc", "proc", 0, NULL) ||
	    mount("sysfs", "/sys", "sysfs", 0, NULL))
		perror("mount");
	setenv("PATH", "/sbin:/bin", 1);
	uname(&kernel);
	printf("KERNEL %s\n", kernel.release);
	each_file("/modules", insert_module);
	each_file("/tests", run_program);
	printf("DONE\n");
	fflush(stdout);
	sync();
	/* With qemu's -no-reboot this is the end. */
	reboot(RB_AUTOBOOT);
	return 1;
}
