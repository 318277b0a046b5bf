# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Common ground of the scripts: where things are, how progress and failures are
# told, and how a step becomes trusted only when it is complete.
#
# A step builds into DEST.partial and renames it to DEST at the very end, with a
# .stamp inside that holds the hash of the step's inputs. Whatever interrupts it
# leaves at most a .partial that the next run removes. A lock per step keeps two
# runs apart; it lives as long as the step's own processes do.

set -euo pipefail

repo=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)
cache=$(realpath -m -- "${SKIFF_CACHE:-$repo/.cache}")
# SKIFF_CACHE may have come as a relative path: the callee may sit elsewhere.
export SKIFF_CACHE=$cache
# shellcheck disable=SC2034 # used by the scripts that source this file
scripts=$repo/scripts

# What the user reads; stdout stays free for results.
say() { printf '[%3d s] %s\n' "$SECONDS" "$*" >&2; }

# die CAUSE [MEND]: one line for what went wrong, one for what to do about it.
die() {
	printf '%s: error: %s\n' "${0##*/}" "$1" >&2
	[ $# -lt 2 ] || printf '%s: mend:  %s\n' "${0##*/}" "$2" >&2
	exit 1
}

# child CMD...: runs a program that does not outlive this script, even when that
# is killed: the next run would wait for it, or meet its half-made files.
child() { setpriv --pdeathsig KILL "$@"; }

# hash_of STRING...: one hash over all arguments.
hash_of() { printf '%s\0' "$@" | sha256sum | cut -d' ' -f1; }

# step_fresh DEST HASH: true when DEST is complete and made from these inputs.
step_fresh() {
	local have=
	[ -r "$1/.stamp" ] || return 1
	read -r have <"$1/.stamp" || true
	[ "$have" = "$2" ]
}

# step_begin DEST HASH: returns 1 when there is nothing to do, else takes the
# lock and leaves an empty $partial to build into.
step_begin() {
	local dest=$1 hash=$2 lock
	step_fresh "$dest" "$hash" && return 1
	mkdir -p -- "$cache/locks" "$(dirname -- "$dest")" 2>/dev/null ||
		die "cannot write to the cache folder $cache" \
			"make it writable or point SKIFF_CACHE at a folder that is"
	lock=$cache/locks/$(printf '%s' "${dest#"$cache"/}" | tr / -)
	exec {step_lock}>"$lock"
	if ! flock -n "$step_lock"; then
		say "waiting for another run that is making ${dest#"$cache"/}"
		flock "$step_lock"
		if step_fresh "$dest" "$hash"; then
			exec {step_lock}>&-
			return 1
		fi
	fi
	partial=$dest.partial
	remove_tree "$partial"
	mkdir -- "$partial"
}

# step_end DEST HASH: makes the finished $partial the trusted DEST.
step_end() {
	local dest=$1 hash=$2
	printf '%s\n' "$hash" >"$partial/.stamp"
	if [ -e "$dest" ] || [ -L "$dest" ]; then
		remove_tree "$dest.old"
		mv -T -- "$dest" "$dest.old"
	fi
	mv -T -- "$partial" "$dest"
	remove_tree "$dest.old"
	exec {step_lock}>&-
}

# remove_tree DIR: rm -rf that also copes with read-only folders.
remove_tree() {
	[ -e "$1" ] || [ -L "$1" ] || return 0
	if [ -d "$1" ] && [ ! -L "$1" ]; then
		chmod -R u+rwX -- "$1" 2>/dev/null || true
	fi
	rm -rf --one-file-system -- "$1"
}

# log_run LOG WHAT CMD...: run quietly; on failure show the end of the log.
log_run() {
	local log=$1 what=$2 start=$SECONDS
	shift 2
	mkdir -p -- "$(dirname -- "$log")"
	if "$@" >"$log" 2>&1; then
		say "$what: done in $((SECONDS - start)) s"
	else
		local rc=$?
		tail -n 30 -- "$log" | sed 's/^/    /' >&2
		die "$what failed (exit code $rc)" "the whole log is in $log"
	fi
}
