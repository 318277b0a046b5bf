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
# Our own modules, a folder for each kernel; SKIFF_MODULES keeps those of another worktree apart.
# shellcheck disable=SC2034 # used by setup
built_modules=${SKIFF_MODULES:-$cache/modules}
# shellcheck disable=SC2034 # used by the scripts that source this file
scripts=$repo/scripts

# Elapsed times count from the first script of a chain that exports this.
SKIFF_START=${SKIFF_START:-$EPOCHSECONDS}

# What the user reads; stdout stays free for results.
say() { printf '[%4d s] %s\n' "$((EPOCHSECONDS - SKIFF_START))" "$*" >&2; }

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
	mkdir -p -- "$cache/locks" "$cache/log" "$(dirname -- "$dest")" 2>/dev/null ||
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
	rm -rf --one-file-system -- "$1" 2>/dev/null && return
	chmod -R u+rwX -- "$1"
	rm -rf --one-file-system -- "$1"
}

# log_run LOG WHAT CMD...: run quietly, with a sign of life every half minute;
# on failure show the end of the log.
log_run() {
	local log=$1 what=$2 start=$EPOCHSECONDS ticker rc=0
	shift 2
	mkdir -p -- "$(dirname -- "$log")"
	# No sleep(1): it would outlive the shell by half a minute, with the lock. A
	# pipe that nobody writes to makes read wait.
	# shellcheck disable=SC2016 # expanded by that shell
	setpriv --pdeathsig KILL bash -c 'exec {never}<> <(:)
	while ! read -r -t 30 -u "$never"; do
		printf "[%4d s] %s: %d s so far\n" "$((EPOCHSECONDS - $1))" "$2" "$((EPOCHSECONDS - $3))"
	done' bash "$SKIFF_START" "$what" "$start" >&2 </dev/null &
	ticker=$!
	"$@" >"$log" 2>&1 || rc=$?
	kill "$ticker"
	wait "$ticker" 2>/dev/null || true
	if [ "$rc" != 0 ]; then
		tail -n 30 -- "$log" | sed 's/^/    /' >&2
		die "$what failed (exit code $rc)" "the whole log is in $log"
	fi
	say "$what: done in $((EPOCHSECONDS - start)) s"
}

# The argument of build-modules for a folder of modules ($1), if its Kbuild says
# that they use symbols of skiff.ko, which was built into $2.
symbols_for() {
	if [ "$1" != "$repo" ] && grep -q 'symbols of skiff.ko' -- "$1/Kbuild"; then
		printf 'KBUILD_EXTRA_SYMBOLS=%s\n' "$2/Module.symvers"
	fi
}
