# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# How this machine can enter a Debian 13 root: which privilege it has for that,
# and whether it needs a root of its own at all.

: "${cache:?lib.sh comes first}" "${scripts:?}"

# The versions everything was tried with: rmeta files and procedural macros are
# tied to the very rustc, vfio-user came with QEMU 10.1.
root_rustc=1.85.1
root_qemu=10.1

# The package names of scripts/root-packages, one a line.
root_packages() { sed -e 's/#.*//' -e '/^[[:space:]]*$/d' "$scripts/root-packages"; }

# True when the host is itself a Debian 13 with everything the root would hold.
host_is_root() {
	local codename version pkgs missing
	codename=$(. /etc/os-release 2>/dev/null && printf '%s' "${VERSION_CODENAME:-}")
	[ "$codename" = trixie ] || return 1
	mapfile -t pkgs < <(root_packages)
	# shellcheck disable=SC2016 # dpkg-query's format
	missing=$(dpkg-query -W -f '${db:Status-Abbrev}\n' "${pkgs[@]}" 2>&1 |
		grep -cv '^ii' || true)
	[ "$missing" = 0 ] || return 1
	[ "$(rustc --version 2>/dev/null | cut -d' ' -f2)" = "$root_rustc" ] || return 1
	# shellcheck disable=SC2016
	version=$(dpkg-query -W -f '${Version}' qemu-system-x86)
	dpkg --compare-versions "$version" ge "1:$root_qemu" || return 1
}

# The root to use: / when the host serves as it is, else the cache's.
root_dir() {
	if [ "${SKIFF_ROOT:-}" = / ]; then
		printf '/\n'
	elif [ -n "${SKIFF_ROOT:-}" ]; then
		realpath -m -- "$SKIFF_ROOT"
	elif [ ! -e "$cache/root/.stamp" ] && host_is_root; then
		printf '/\n'
	else
		printf '%s\n' "$cache/root"
	fi
}

# Namespace flags for a user namespace that holds a whole range of ids.
userns_flags=(--user --map-root-user --map-auto)

# True when an unprivileged user namespace with a range of ids can be had, with
# mounts in it.
userns_works() {
	# shellcheck disable=SC2016 # expanded in there
	unshare "${userns_flags[@]}" --mount --pid --fork --kill-child \
		sh -c 'mount -t tmpfs none /mnt && test "$(wc -l </proc/self/uid_map)" -gt 1' \
		2>/dev/null
}

# Prints root, userns or sudo: how mounts and chroot are to be had here.
# $SKIFF_PRIV chooses one, else a root that is there says how it was made;
# without any of them the script ends here.
root_privilege() {
	local made=''
	case ${SKIFF_PRIV:-} in
	root | userns | sudo) printf '%s\n' "$SKIFF_PRIV" && return ;;
	'') ;;
	*) die "SKIFF_PRIV=$SKIFF_PRIV is none of root, userns, sudo" ;;
	esac
	if [ -r "$cache/root.privilege" ]; then
		read -r made <"$cache/root.privilege"
	fi
	if [ "$(id -u)" = 0 ]; then
		unshare --mount --pid --fork --kill-child true 2>/dev/null ||
			die "this root user may not make mount and PID namespaces" \
				"run with CAP_SYS_ADMIN (a container needs --privileged, or use a virtual machine)"
		printf 'root\n'
	elif [ "$made" = userns ] || [ "$made" = sudo ]; then
		printf '%s\n' "$made"
	elif userns_works; then
		printf 'userns\n'
	elif command -v sudo >/dev/null && { sudo -n true 2>/dev/null || [ -t 0 ]; }; then
		printf 'sudo\n'
	else
		die "not root, no sudo, and no unprivileged user namespace with a range of ids" \
			"$(userns_mend)"
	fi
}

# What is missing for an unprivileged user namespace.
userns_mend() {
	if ! command -v newuidmap >/dev/null; then
		printf 'apt-get install uidmap'
	elif ! grep -qs "^\($(id -un)\|$(id -u)\):" /etc/subuid ||
		! grep -qs "^\($(id -un)\|$(id -u)\):" /etc/subgid; then
		printf 'usermod --add-subuids 100000-165535 --add-subgids 100000-165535 %s' "$(id -un)"
	else
		printf 'sysctl kernel.unprivileged_userns_clone=1 kernel.apparmor_restrict_unprivileged_userns=0, whichever exists; or run as root'
	fi
}
