# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# The Debian archive, seen through an apt configuration of our own: which mirror
# serves this machine, and the package lists of trixie and trixie-backports. The
# configuration of the host is read, never changed; all state is in $cache/apt.

: "${cache:?lib.sh comes first}"

apt_suites=(trixie trixie-backports)

# The archive address, from the first source that knows one: $DEBIAN_MIRROR, the
# indexes apt has fetched, the indexes it would fetch, mmdebstrap's default.
archive_address() {
	local uri codename sources
	if [ -n "${DEBIAN_MIRROR:-}" ]; then
		printf '%s\n' "${DEBIAN_MIRROR%/}"
		return
	fi
	# Unknown fields would be printed literally; these exist in apt 2.6 and 3.0.
	# shellcheck disable=SC2016 # apt expands these
	uri=$(apt-get indextargets --format \
		'$(ORIGIN)|$(LABEL)|$(COMPONENT)|$(REPO_URI)' 2>/dev/null |
		sed -n 's/^Debian|Debian|main|//p' | sed -n 1p)
	if [ -z "$uri" ]; then
		codename=$(. /etc/os-release && printf '%s' "${VERSION_CODENAME:-}")
		uri=$(apt-get update --print-uris 2>/dev/null |
			sed -n "s|^'\(.*/debian/\)dists/$codename/InRelease'.*|\1|p" | sed -n 1p)
	fi
	if [ -z "$uri" ] && command -v mmdebstrap >/dev/null; then
		# A setup hook that fails shows the sources and downloads nothing.
		# shellcheck disable=SC2016 # mmdebstrap's shell expands $1
		sources=$(mmdebstrap --mode=chrootless --variant=custom \
			--setup-hook='cat "$1/etc/apt/sources.list"; false' \
			trixie /dev/null 2>/dev/null || true)
		uri=$(printf '%s\n' "$sources" |
			sed -n 's|^deb \(\[[^]]*\] \)\?\([^ ]*\) trixie main.*|\2|p' | sed -n 1p)
	fi
	[ -n "$uri" ] || die "no Debian archive is configured on this machine" \
		"set DEBIAN_MIRROR=<address of a Debian archive>, or run apt-get update first"
	printf '%s\n' "${uri%/}"
}

# Debian's keyring, under the name it has on this release.
archive_keyring() {
	local k
	for k in pgp gpg; do
		if [ -r "/usr/share/keyrings/debian-archive-keyring.$k" ]; then
			printf '%s\n' "/usr/share/keyrings/debian-archive-keyring.$k"
			return
		fi
	done
	die "the keyring of the Debian archive is missing" \
		"apt-get install debian-archive-keyring"
}

# Sets up $cache/apt and points APT_CONFIG at it. Host settings that matter for
# reaching the archive (proxy, retries, address family) are taken over; the rest
# is not: a container's docker-clean would make every query re-read the lists.
apt_setup() {
	local dir=$cache/apt mirror keyring suite
	mirror=$(archive_address)
	keyring=$(archive_keyring)
	mkdir -p "$dir"/{lists/partial,archives/partial,parts}
	{
		APT_CONFIG='' apt-config dump 2>/dev/null |
			grep -E '^Acquire::((http|https)::|Retries|ForceIPv|Check-Valid-Until|Check-Date)' || true
		cat <<-CONF
			Dir::State "$dir";
			Dir::State::lists "$dir/lists";
			Dir::State::status "/dev/null";
			Dir::State::extended_states "$dir/extended_states";
			Dir::Cache "$dir";
			Dir::Cache::archives "$dir/archives";
			Dir::Cache::srcpkgcache "";
			Dir::Etc "$dir";
			Dir::Etc::sourcelist "$dir/sources.list";
			Dir::Etc::sourceparts "$dir/parts";
			Dir::Etc::main "$dir/none";
			Dir::Etc::parts "$dir/parts";
			Dir::Etc::preferences "$dir/none";
			Dir::Etc::preferencesparts "$dir/parts";
			APT::Architecture "amd64";
			APT::Architectures "amd64";
			APT::Update::Error-Mode "any";
			APT::Sandbox::User "";
			Acquire::Languages "none";
			Acquire::Retries "3";
		CONF
	} >"$dir/apt.conf.$$"
	mv "$dir/apt.conf.$$" "$dir/apt.conf"
	for suite in "${apt_suites[@]}"; do
		printf 'deb [signed-by=%s] %s %s main\n' "$keyring" "$mirror" "$suite"
	done >"$dir/sources.list.$$"
	if ! cmp -s "$dir/sources.list.$$" "$dir/sources.list"; then
		rm -f "$dir/updated"
	fi
	mv "$dir/sources.list.$$" "$dir/sources.list"
	export APT_CONFIG=$dir/apt.conf
}

# apt_update HOURS: fetches the package lists unless they are younger than that;
# 0 always fetches. Expects apt_setup.
apt_update() {
	local dir=$cache/apt max=$1
	if [ -e "$dir/updated" ] && [ "$max" -gt 0 ] &&
		[ -n "$(find "$dir/updated" -mmin "-$((max * 60))")" ]; then
		return
	fi
	log_run "$cache/log/apt-update.log" "package lists of ${apt_suites[*]}" \
		apt-get -q update
	touch "$dir/updated"
}
