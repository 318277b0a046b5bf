# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154 # shared with lib.sh and the scripts that source this file
#
# What building the stock and the debug kernel have in common; runs in the root.
#
# A finished kernel folder holds
#   vmlinux        uncompressed ELF that boots through PVH (qemu -kernel)
#   release        what uname -r says there
#   config         its configuration
#   cmdline        kernel arguments it needs, one line, may be empty
#   kdir/          self-contained build folder: make -C kdir M=... MO=...
#   kdir.env       KDIR_MAKE_FLAGS="...", what make must be given for kdir/
#   modules/       flat folder of NAME.ko, '_' for '-' in the names
#   modules.order  "NAME: DEP DEP", a module after all it depends on
#   modules.builtin  names asked for that are part of vmlinux
# The drivers of drivers/ntb are always among the modules, unmodified; the rest
# is $guest_modules, with stock kernels $stock_modules, and whatever these need.

: "${cache:?lib.sh comes first}"

jobs=$(nproc)

# Modules of the kernel package that guests use.
guest_modules=(nvme ext4 virtio_iommu virtio_net virtio_blk)
# Those that only benchmarks use, on the stock kernels: a disk over the network.
stock_modules=(nvme_tcp nvmet_tcp)
# Configuration symbols and modules of drivers/ntb.
ntb_config=(CONFIG_NTB=m CONFIG_NTB_IDT=m CONFIG_NTB_TOOL=m CONFIG_NTB_PINGPONG=m
	CONFIG_NTB_PERF=m CONFIG_NTB_TRANSPORT=m)
ntb_modules=(ntb ntb_hw_idt ntb_tool ntb_pingpong ntb_perf ntb_transport)

# unpack_source VERSION DEB: the packaged source in $cache/src/VERSION; prints
# nothing, sets $src. Documentation, the code of other architectures (whose
# Kconfig files are read all the same) and a quarter of all bytes that is
# register lists of graphics chips stay out.
unpack_source() {
	local version=$1 deb=$2 hash top
	top=$(basename -- "${deb%%_*}")
	src=$cache/src/$version
	hash=$(hash_of source 1 "$version")
	step_begin "$src" "$hash" || return 0
	# shellcheck disable=SC2016
	log_run "$cache/log/source-$version.log" "unpacking the source of $version" \
		bash -c 'set -o pipefail
			deb=$1 dest=$2 top=$3
			dpkg-deb --fsys-tarfile "$deb" | tar -xOf - "./usr/src/$top.tar.xz" |
				tar -xJf - -C "$dest" --strip-components=1 --anchored --wildcards \
					--exclude="$top/arch/[!x]*/*."{c,h,S,json,dts,dtsi} \
					--exclude="$top/drivers/gpu/drm/amd/include/*.h" \
					--exclude="$top/Documentation/*/*"' \
		bash "$deb" "$partial" "$top"
	step_end "$src" "$hash"
}

# module_name FILE: the kernel's name of a module file.
module_name() { basename -- "$1" | sed -e 's/\.ko\(\.[a-z]*\)\?$//' -e 's/-/_/g'; }

# module_deps FILE.ko: names of the modules it depends on.
module_deps() { modinfo -F depends -- "$1" | tr ',-' ' _' | xargs; }

# collect_modules TREE DEST NAME...: copies the modules of TREE and their
# dependencies, decompressed, into DEST and appends to DEST.order, so that every
# module comes after what it needs. Names that are built in go to DEST.builtin.
collect_modules() {
	local tree=$1 dest=$2 name file dep deps
	shift 2
	if [ ! -e "$tree/index" ]; then
		find "$tree" -name '*.ko' -o -name '*.ko.*' | while IFS= read -r file; do
			printf '%s %s\n' "$(sed -e 's|.*/||' -e 's/\.ko.*//' -e 's/-/_/g' <<<"$file")" "$file"
		done >"$tree/index"
	fi
	for name in "$@"; do
		[ ! -e "$dest/$name.ko" ] || continue
		file=$(awk -v n="$name" '$1 == n { print $2 }' "$tree/index")
		if [ -z "$file" ]; then
			if sed -e 's|.*/||' -e 's/\.ko$//' -e 's/-/_/g' "$tree/modules.builtin" |
				grep -xF -- "$name" >/dev/null; then
				grep -qxsF -- "$name" "$dest.builtin" || printf '%s\n' "$name" >>"$dest.builtin"
				continue
			fi
			die "the kernel has no module $name, nor is it built in" \
				"scripts/lib-kernel.sh names the modules that guests need"
		fi
		case $file in
		*.ko) cp -- "$file" "$dest/$name.ko" ;;
		*.ko.xz) xz -dc -- "$file" >"$dest/$name.ko" ;;
		*.ko.zst) zstd -qdc -- "$file" >"$dest/$name.ko" ;;
		*.ko.gz) gzip -dc -- "$file" >"$dest/$name.ko" ;;
		*) die "$file has an unknown compression" ;;
		esac
		deps=$(module_deps "$dest/$name.ko")
		for dep in $deps; do
			collect_modules "$tree" "$dest" "$dep"
		done
		printf '%s:%s\n' "$name" "${deps:+ $deps}" >>"$dest.order"
	done
}

# finish_kdir KDIR SRC OBJ: adds what Rust modules need, from the build in OBJ,
# and checks that nothing ties the folder to where it was made.
finish_kdir() {
	local kdir=$1 from=$2 obj=$3 file
	mkdir -p -- "$kdir/rust/kernel"
	# Included by the expansions of warn_on!, static_branch_unlikely! and the like.
	cp -- "$obj"/rust/kernel/generated_*.rs "$kdir/rust/kernel/"
	cp -- "$obj"/rust/*.rmeta "$obj"/rust/*.so "$kdir/rust/"
	cp -- "$obj/scripts/target.json" "$kdir/scripts/"
	# For CLIPPY=1 and for people who run rustfmt with the kernel's settings.
	for file in .clippy.toml .rustfmt.toml; do
		[ ! -e "$from/$file" ] || cp -- "$from/$file" "$kdir/"
	done
	strip -g "$kdir"/rust/*.so
	[ -s "$kdir/Module.symvers" ] || die "the build folder has no Module.symvers"
}
