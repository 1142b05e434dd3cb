#!/bin/sh
# tools/deps.sh [--check] KIND...  Install the Debian packages that are missing
#
# KIND is a kind of tools/packages.txt. With --check: install nothing, say what is
# missing. Newly installed servers are kept from starting by a temporary
# policy-rc.d; services that run already are left alone. Exits 0 when nothing
# is missing (any more).
set -eu

cd "$(dirname "$0")/.."
policy=/usr/sbin/policy-rc.d
saved=$policy.before-mediaproxy
mark='# temporary, of tools/deps.sh'

check=no
if [ "${1-}" = --check ]; then
	check=yes
	shift
fi

if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
	echo "deps: this is no Debian system: nothing is checked or installed;" \
		"tools/packages.txt has what is needed" >&2
	exit 0
fi

packages_of() {
	for kind; do
		awk -v kind="$kind" '$1 == kind { print $2 }' tools/packages.txt
	done | sort -u
}

missing_of() {
	for package; do
		status=$(dpkg-query -W -f '${db:Status-Status}' "$package" \
			2>/dev/null || true)
		[ "$status" = installed ] || echo "$package"
	done
}

is_unknown() {
	candidate=$(LC_ALL=C apt-cache policy "$1" |
		awk '$1 == "Candidate:" { print $2 }')
	[ -z "$candidate" ] || [ "$candidate" = '(none)' ]
}

apt() {
	DEBIAN_FRONTEND=noninteractive apt-get -q -y \
		-o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 "$@" </dev/null 9>&-
}

put_policy() {
	if [ -e "$policy" ] && ! grep -qF "$mark" "$policy"; then
		mv "$policy" "$saved"
	fi
	printf '#!/bin/sh\n%s\nexit 101\n' "$mark" >"$policy"
	chmod 755 "$policy"
}

restore_policy() {
	if [ -e "$saved" ]; then
		mv "$saved" "$policy"
	elif [ -e "$policy" ] && grep -qF "$mark" "$policy"; then
		rm "$policy"
	fi
}

missing=$(missing_of $(packages_of "$@"))
[ -n "$missing" ] || exit 0
missing=$(echo $missing)

if [ "$check" = yes ]; then
	{
		echo "These packages are missing: $missing"
		echo "\`make deps\` installs what the build needs, \`make deps-test\`" \
			"what the tests need."
	} >&2
	exit 1
fi
if [ "$(id -u)" -ne 0 ]; then
	{
		echo "Packages are missing. As root:"
		echo "    apt-get install --no-install-recommends $missing"
	} >&2
	exit 1
fi

# One at a time: two would take each other's policy for one of the machine's.
exec 9>/run/lock/mediaproxy-deps.lock
flock -w 900 9
missing=$(echo $(missing_of $missing))
[ -n "$missing" ] || exit 0

echo "deps: installing $missing"
updated=no
for package in $missing; do
	if is_unknown "$package"; then
		apt update
		updated=yes
		break
	fi
done

trap restore_policy EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
put_policy
if ! apt install --no-install-recommends $missing; then
	# Old lists name versions that the mirror no longer has.
	[ "$updated" = no ] || exit 1
	apt update
	apt install --no-install-recommends $missing
fi
